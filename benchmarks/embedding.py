"""Embedding a folder of point clouds against the encoder alone.

    python -m benchmarks.embedding [--model=DIR | --scaling=3] [--clouds=500] [--json]

Makes coloured clouds of 10,000 points as NPZ files in a temporary folder, and times, in turns in
one process: the folder, from names to embeddings (read, checked, drawn from, embedded), and the
encoder alone on the same batches, which lie prepared in the host's memory.  Without a model of your
own it has random weights, the given scaling and all points of a cloud.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from flax import nnx

from benchmarks.timing import report, take_turns
from configs import base
from mixcon3d_jax.arguments import whole_number
from mixcon3d_jax.errors import exit_on_input_error
from mixcon3d_jax.exchange.snapshot import About
from mixcon3d_jax.host_memory import keep_freed_memory
from mixcon3d_jax.inference.clip_of_model import ClipChoice
from mixcon3d_jax.inference.embedder import Embedder
from mixcon3d_jax.inference.inputs import find_assets
from mixcon3d_jax.inference.model import Model, load
from mixcon3d_jax.inference.preparation import prepare_file
from mixcon3d_jax.inference.weights import ModelWeights
from mixcon3d_jax.models.mixcon3d import MixCon3D
from mixcon3d_jax.models.pointbert import SCALINGS
from mixcon3d_jax.models.variables import flatten, split_module
from mixcon3d_jax.training.run_config import model_config

POINTS = 10_000


def random_model(scaling: int, batch_size: int | None) -> Model:
    """A model of random weights."""
    config = base.get_config()
    config.model.scaling, config.data.num_points = scaling, POINTS
    _, params, stats = split_module(MixCon3D(model_config(config), rngs=nnx.Rngs(0)))
    arrays = {name: np.asarray(leaf) for name, leaf in (flatten(params) | flatten(stats)).items()}
    about = About(config.to_dict(), config.clip.id)
    weights = ModelWeights("random", about, 0, "raw", arrays, "")
    return Model(Embedder(weights, ClipChoice(), batch_size))


def write_clouds(folder: Path, count: int) -> None:
    """Coloured clouds of `POINTS` points."""
    for number in range(count):
        rng = np.random.default_rng(number)
        points = rng.normal(size=(POINTS, 3)).astype(np.float32)
        colors = rng.integers(0, 256, (POINTS, 3)).astype(np.uint8)
        np.savez(folder / f"{number:05d}.npz", points=points, colors=colors)


@exit_on_input_error
def main() -> None:
    """Prints one row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a workdir or an exported file")
    parser.add_argument("--scaling", type=int, choices=SCALINGS, default=3)
    parser.add_argument("--clouds", type=whole_number(1), default=500)
    parser.add_argument("--batch-size", type=whole_number(1))
    parser.add_argument("--workers", type=whole_number(0), default=0)
    parser.add_argument("--rounds", type=whole_number(2), default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    keep_freed_memory()  # as `mixcon3d_jax.embed` does
    model = load(args.model) if args.model else random_model(args.scaling, args.batch_size)
    size = model.embedder.batch_size
    with tempfile.TemporaryDirectory() as folder:
        write_clouds(Path(folder), args.clouds)
        files = find_assets([folder], "y")
        prepared = [prepare_file(file, model.preparation("point")) for file in files]
        parts = [prepared[start : start + size] for start in range(0, len(files), size)]
        batches = [
            (np.stack([one.points for one in part]), np.stack([one.colors for one in part]))
            for part in parts
        ]
        programs = model.embedder.programs
        took = take_turns(
            {
                "folder": lambda: model.embed_files(files, workers=args.workers).embeddings,
                "encoder": lambda: list(programs.rows_of(programs.points, batches)),
            },
            args.rounds,
        )
    name = args.model or f"scaling {args.scaling}"
    row = {
        f"{args.clouds} clouds, batch {size}": name,
        "folder, ms (quartiles)": took["folder"],
        "encoder alone, ms (quartiles)": took["encoder"],
        "folder, clouds/s": args.clouds / took["folder"].median,
        "encoder / folder, %": 100 * took["encoder"].median / took["folder"].median,
    }
    report([row], as_json=args.json)


if __name__ == "__main__":
    main()
