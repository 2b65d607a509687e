"""A training step against PyTorch's, and against what its arithmetic alone would take.

    python -m benchmarks.train_step [--scaling=3] [--batch=8] [--dtype=float32] [--json]

Needs the extra `benchmark`.  Forward, backward, AdamW and moving average of the whole model on
clouds of 10,000 points, by all sides in turns, each with all cores in a process of its own.  On a
CPU, this project keeps freed memory (`mixcon3d_jax.host_memory`); PyTorch is measured without that,
as it comes, and with it.
`floor` is the time of the step's matrix products at the rate of a large one, measured in between.
"""

import argparse
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.arithmetic import product_flops
from benchmarks.timing import in_own_process, report, take_turns
from mixcon3d_jax import losses
from mixcon3d_jax.models.mixcon3d import MixCon3DConfig
from mixcon3d_jax.models.pointbert import SCALINGS
from mixcon3d_jax.sharding import make_mesh
from mixcon3d_jax.training.optimizer import OptimizerConfig, make_optimizer
from mixcon3d_jax.training.state import abstract_state, initial_state
from mixcon3d_jax.training.step import StepConfig, compile_train_step

NUM_POINTS, NUM_VIEWS, EMBEDDING_SIZE, EMA_DECAY = 10_000, 4, 1280, 0.999
OPTIMIZER = OptimizerConfig(1e-3, 1e-6, warmup_steps=10, total_steps=1000)
_SIDE = 2048  # of the matrices whose product gives the rate


def make_batch(size: int) -> dict[str, np.ndarray]:
    """Clouds on a bumpy sphere (normalised), colours and random embeddings."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(size, NUM_POINTS, 3))
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    points *= rng.uniform(0.6, 1, (size, NUM_POINTS, 1))
    return {
        "points": points.astype(np.float32),
        "colors": rng.random((size, NUM_POINTS, 3), np.float32),
        "view_embeddings": rng.normal(size=(size, NUM_VIEWS, EMBEDDING_SIZE)).astype(np.float32),
        "text_embedding": rng.normal(size=(size, EMBEDDING_SIZE)).astype(np.float32),
        "has_text": np.ones(size, bool),
    }


def _step_config(model: MixCon3DConfig) -> StepConfig:
    return StepConfig(model, OPTIMIZER, losses.Weights(), EMA_DECAY, None, seed=0)


def step_flops(model: MixCon3DConfig, batch: dict[str, np.ndarray]) -> int:
    """Of the step's matrix products; nothing is computed."""
    mesh = make_mesh(1, 1, 1, jax.devices()[:1])
    state = abstract_state(model, make_optimizer(OPTIMIZER), mesh)
    return product_flops(compile_train_step(_step_config(model), mesh, state), state, batch)


class JaxSide:
    """This package's step on one device."""

    def __init__(self, model: MixCon3DConfig, batch: dict[str, np.ndarray]):
        mesh = make_mesh(1, 1, 1, jax.devices()[:1])
        self.state = initial_state(model, make_optimizer(OPTIMIZER), mesh, seed=0)
        self.batch = jax.device_put(batch)
        self.step = compile_train_step(_step_config(model), mesh, self.state)

    def __call__(self) -> jax.Array:
        """One update."""
        self.state, metrics = self.step(self.state, self.batch)
        return metrics["loss"]


def pytorch_side(model: MixCon3DConfig, batch: dict[str, np.ndarray]) -> Callable[[], object]:
    """The original's step."""
    import torch

    from benchmarks.pytorch_side import make_trainer

    names = {"points": "xyz", "colors": "rgb", "view_embeddings": "img_feat"}
    names |= {"text_embedding": "text_feat", "has_text": "has_text"}
    trainer = make_trainer(model, OPTIMIZER, EMA_DECAY)
    return functools.partial(
        trainer.update, {names[key]: torch.from_numpy(value) for key, value in batch.items()}
    )


def main() -> None:
    """Prints a row for each side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scaling", type=int, choices=SCALINGS, default=3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    batch = make_batch(args.batch)
    model = MixCon3DConfig(SCALINGS[args.scaling], EMBEDDING_SIZE, dtype=args.dtype)
    square = jnp.ones((_SIDE, _SIDE), args.dtype)
    multiply = jax.jit(jnp.matmul)
    with (
        in_own_process(JaxSide, model, batch, keeps_memory=True) as ours,
        in_own_process(pytorch_side, model, batch, keeps_memory=False) as theirs,
        in_own_process(pytorch_side, model, batch, keeps_memory=True) as theirs_keeping,
    ):
        sides = {
            "this project": ours,
            "PyTorch": theirs,
            "PyTorch, freed memory kept": theirs_keeping,
            "one product": lambda: multiply(square, square),
        }
        took = take_turns(sides, args.rounds)
    rate = 2 * _SIDE**3 / took.pop("one product").median
    flops = step_flops(model, batch)
    floor = flops / rate
    rows = [
        {
            "step": f"scaling {args.scaling}, batch {args.batch}, {args.dtype}",
            "side": name,
            "ms (quartiles)": seconds,
            "PyTorch / side": took["PyTorch"].median / seconds.median,
            "side / floor": seconds.median / floor,
        }
        for name, seconds in took.items()
    ]
    if not args.json:
        print(f"{flops / 1e9:.0f} GFLOP at {rate / 1e9:.0f} GFLOP/s: {1e3 * floor:.0f} ms")
    report(rows, as_json=args.json)


if __name__ == "__main__":
    main()
