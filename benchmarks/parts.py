"""Grouping and inference against PyTorch's.

    python -m benchmarks.parts [--scaling=3] [--batch=8] [--json]

Needs the extra `benchmark`.  Farthest point sampling (against the compiled sampler of `fpsample`,
clouds in parallel), ball query (against the original's by sorting) and the embedding of clouds by
the whole encoder, on clouds of 10,000 points in float32, both sides in turns with all cores.
"""

import argparse
from collections.abc import Callable

import jax
import torch
from flax import nnx

from benchmarks.pytorch_side import farthest_points, make_mirror, sorted_ball
from benchmarks.timing import report, take_turns
from benchmarks.train_step import EMBEDDING_SIZE, make_batch
from mixcon3d_jax.models.grouping import ball_query, farthest_point_sample, gather_points
from mixcon3d_jax.models.mixcon3d import MixCon3D, MixCon3DConfig
from mixcon3d_jax.models.pointbert import SCALINGS


def parts(scaling: int, batch: int) -> dict[str, tuple[Callable, Callable]]:
    """Name -> what this project and PyTorch run."""
    rows = make_batch(batch)
    config = MixCon3DConfig(SCALINGS[scaling], EMBEDDING_SIZE)
    encoder = config.encoder
    points, colors = jax.device_put((rows["points"], rows["colors"]))
    centers = gather_points(points, farthest_point_sample(points, encoder.patches))
    sample = jax.jit(lambda points: farthest_point_sample(points, encoder.patches))
    group = jax.jit(
        lambda points, centers: ball_query(points, centers, encoder.radius, encoder.neighbors)
    )
    structure, weights = nnx.split(MixCon3D(config, rngs=nnx.Rngs(0)).encoder)
    embed = jax.jit(lambda weights, *cloud: nnx.merge(structure, weights)(*cloud))

    their_points, their_colors = (torch.from_numpy(rows[key]) for key in ("points", "colors"))
    their_centers = torch.tensor(jax.device_get(centers))
    mirror = make_mirror(config).encoder.eval()

    def mirror_embeds() -> None:
        with torch.no_grad():
            mirror(their_points, their_colors)

    return {
        "farthest point sampling": (
            lambda: sample(points),
            lambda: farthest_points(their_points, encoder.patches),
        ),
        "ball query": (
            lambda: group(points, centers),
            lambda: sorted_ball(their_points, their_centers, encoder.radius, encoder.neighbors),
        ),
        "inference": (lambda: embed(weights, points, colors), mirror_embeds),
    }


def main() -> None:
    """Prints a row for each part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scaling", type=int, choices=SCALINGS, default=3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = []
    for name, (ours, theirs) in parts(args.scaling, args.batch).items():
        took = take_turns({name: ours, "PyTorch": theirs}, args.rounds)
        rows.append(
            {
                f"scaling {args.scaling}, batch {args.batch}": name,
                "this project, ms (quartiles)": took[name],
                "PyTorch, ms (quartiles)": took["PyTorch"],
                "ratio": took["PyTorch"].median / took[name].median,
            }
        )
    report(rows, as_json=args.json)


if __name__ == "__main__":
    main()
