"""The parts of a training step, and inference, against PyTorch's.

    python -m benchmarks.parts [--scaling=3] [--batch=8] [--json]

Needs the extra `benchmark`.  Farthest point sampling (against the compiled sampler of `fpsample`,
clouds in parallel), ball query (against the original's by sorting), the gather of groups, the
contrastive terms with their gradient (of 256 rows), AdamW with the moving average, and the
embedding of clouds by the whole encoder: on clouds of 10,000 points in float32, both sides in
turns, each with all cores in a process of its own.  On a CPU, this project keeps freed memory
(`mixcon3d_jax.host_memory`); PyTorch is measured without that, as it comes, and with it.
"""

import argparse
import functools
from collections.abc import Callable

import jax
import numpy as np
from flax import nnx

from benchmarks.timing import in_own_process, report, take_turns
from benchmarks.train_step import EMA_DECAY, EMBEDDING_SIZE, OPTIMIZER, make_batch
from mixcon3d_jax import losses
from mixcon3d_jax.models.grouping import ball_query, farthest_point_sample, gather_points
from mixcon3d_jax.models.mixcon3d import TEMPERATURES, MixCon3D, MixCon3DConfig
from mixcon3d_jax.models.pointbert import SCALINGS, find_groups
from mixcon3d_jax.sharding import make_mesh
from mixcon3d_jax.training.optimizer import make_optimizer
from mixcon3d_jax.training.state import initial_state
from mixcon3d_jax.training.step import StepConfig, updated_state

PARTS = ("farthest point sampling", "ball query", "gather", "loss", "update", "inference")
_LOSS_ROWS = 256


def our_parts(model: MixCon3DConfig, batch: dict[str, np.ndarray]) -> Callable[[str], object]:
    """Runs a part by this project."""
    encoder = model.encoder
    points, colors = jax.device_put((batch["points"], batch["colors"]))
    groups = jax.jit(functools.partial(find_groups, config=encoder))(points)
    centers = gather_points(points, groups.centers)
    sample = jax.jit(lambda points: farthest_point_sample(points, encoder.patches))
    group = jax.jit(
        lambda points, centers: ball_query(points, centers, encoder.radius, encoder.neighbors)
    )
    structure, weights = nnx.split(MixCon3D(model, rngs=nnx.Rngs(0)).encoder)

    @jax.jit
    @jax.grad
    def loss_gradient(embeddings):
        scales = dict.fromkeys(TEMPERATURES, jax.numpy.float32(2.0))
        has_text = jax.numpy.ones(_LOSS_ROWS, bool)
        terms = losses.mixcon3d_terms(embeddings, scales, has_text)
        return losses.total_loss(terms, losses.Weights())

    embeddings = jax.device_put(_embeddings())
    mesh = make_mesh(1, 1, 1, jax.devices()[:1])
    state = initial_state(model, make_optimizer(OPTIMIZER), mesh, seed=0)
    grads = jax.tree.map(lambda x: 0.01 * x, state.params)
    config = StepConfig(model, OPTIMIZER, losses.Weights(), EMA_DECAY, None, seed=0)
    update = jax.jit(functools.partial(updated_state, config=config), donate_argnums=0)

    def update_again() -> object:
        nonlocal state
        state = update(state, grads, state.stats)
        return state

    embed = jax.jit(lambda weights, *cloud: nnx.merge(structure, weights)(*cloud))
    gather = jax.jit(gather_points)
    runs = (
        lambda: sample(points),
        lambda: group(points, centers),
        lambda: gather(points, groups.neighbors),
        lambda: loss_gradient(embeddings),
        update_again,
        lambda: embed(weights, points, colors),
    )
    by_name = dict(zip(PARTS, runs, strict=True))
    return lambda part: by_name[part]()


def their_parts(model: MixCon3DConfig, batch: dict[str, np.ndarray]) -> Callable[[str], object]:
    """Runs a part by PyTorch."""
    import torch

    from benchmarks.pytorch_side import farthest_points, make_trainer, sorted_ball
    from tests.parity.pytorch_mirror import select
    from tests.parity.pytorch_training import TERMS, contrast

    encoder = model.encoder
    points, colors = (torch.from_numpy(batch[key]) for key in ("points", "colors"))
    centers = select(points, farthest_points(points, encoder.patches))
    neighbors = sorted_ball(points, centers, encoder.radius, encoder.neighbors)
    rows = {name: torch.from_numpy(array) for name, array in _embeddings().items()}

    def loss_gradient() -> object:
        leaves = {name: array.requires_grad_() for name, array in rows.items()}
        scale = torch.tensor(2.0)
        total = sum(contrast(leaves[a], leaves[b], scale) for a, b, _ in TERMS.values())
        return torch.autograd.grad(total, tuple(leaves.values()))

    trainer = make_trainer(model, OPTIMIZER, EMA_DECAY)
    for group in trainer.groups.values():
        for parameter in group.parameters():
            parameter.grad = 0.01 * parameter.detach()
    inference = make_trainer(model, OPTIMIZER, EMA_DECAY).model.encoder.eval()

    def embed() -> object:
        with torch.no_grad():
            return inference(points, colors)

    runs = (
        lambda: farthest_points(points, encoder.patches),
        lambda: sorted_ball(points, centers, encoder.radius, encoder.neighbors),
        lambda: select(points, neighbors),
        loss_gradient,
        trainer.apply_gradients,
        embed,
    )
    by_name = dict(zip(PARTS, runs, strict=True))
    return lambda part: by_name[part]()


def _embeddings() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shape = (_LOSS_ROWS, EMBEDDING_SIZE)
    names = ("point", "image", "text", "fused")
    return {name: rng.normal(size=shape).astype(np.float32) for name in names}


def main() -> None:
    """Prints a row for each part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scaling", type=int, choices=SCALINGS, default=3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    model = MixCon3DConfig(SCALINGS[args.scaling], EMBEDDING_SIZE)
    batch = make_batch(args.batch)
    rows = []
    with (
        in_own_process(our_parts, model, batch, keeps_memory=True) as ours,
        in_own_process(their_parts, model, batch, keeps_memory=False) as theirs,
        in_own_process(their_parts, model, batch, keeps_memory=True) as theirs_keeping,
    ):
        sides = {"this project": ours, "PyTorch": theirs, "keeping": theirs_keeping}
        for part in PARTS:
            of_part = {name: functools.partial(run, part) for name, run in sides.items()}
            took = take_turns(of_part, args.rounds)
            own = took["this project"].median
            rows.append(
                {
                    f"scaling {args.scaling}, batch {args.batch}": part,
                    "this project, ms (quartiles)": took["this project"],
                    "PyTorch": took["PyTorch"],
                    "ratio": took["PyTorch"].median / own,
                    "PyTorch, freed memory kept": took["keeping"],
                    "its ratio": took["keeping"].median / own,
                }
            )
    report(rows, as_json=args.json)


if __name__ == "__main__":
    main()
