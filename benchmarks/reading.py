"""Samples a second and core, read by this project and by the original's way.

    python -m benchmarks.reading [--json]

Makes shapes of the real size (10,000 points, CLIP embeddings of 1280) in a temporary folder, as the
original's files and as converted shards, and lets all sides make batches of 64 in turns.  Samples
for a device are decoded and drawn, with texts and views chosen: what a host does in training.
Samples for the encoder are normalised and augmented as well, which the accelerator does in
training, and the same core here.  Times are those of the processor, all threads together, so that
other load on the machine matters little.
"""

import argparse
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np

from benchmarks.original_reading import read_batch
from benchmarks.timing import report
from data_prep.openshape.shape import read_shape
from mixcon3d_jax.data.augment import AugmentConfig, augment
from mixcon3d_jax.data.clouds import unpack_clouds
from mixcon3d_jax.data.order import EpochOrder
from mixcon3d_jax.data.pipeline import PipelineConfig, train_batches
from mixcon3d_jax.data.sampling import ViewPolicy
from mixcon3d_jax.data.schema import DatasetCard
from mixcon3d_jax.data.source import open_split
from mixcon3d_jax.data.writer import write_dataset
from mixcon3d_jax.sharding import batch_sharding, make_mesh
from tests.openshape_files import make_shape, npy_bytes

NUM_POINTS, EMBEDDING_SIZE, BATCH = 10_000, 1280, 64
# Types of points and embeddings in the original's files.  The first pair gives files of 239 KB,
# close to the real ones' average of 234 KB.
FORMATS = ((np.float16, np.float32), (np.float32, np.float32))

_BATCHES_A_TURN = 8
_SETTLING = 0.5  # seconds


def main() -> None:
    """Prints the medians of all sides and their ratio, for each format of the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows = []
    for point_type, embedding_type in FORMATS:
        with tempfile.TemporaryDirectory() as folder:
            paths = write_files(Path(folder), args.shapes, point_type, embedding_type)
            shards = convert(Path(folder) / "shards", paths)
            sides = {
                "for the encoder, original's way": original_batches(paths),
                "for the encoder, this project": batches_of(shards, for_encoder=True),
                "for a device, this project": batches_of(shards, for_encoder=False),
            }
            rates = {name: BATCH / spent for name, spent in measure(sides, args.rounds).items()}
            size = statistics.mean(path.stat().st_size for path in paths)
        theirs, ours, _ = rates.values()
        types = f"{point_type.__name__}, {embedding_type.__name__}"
        rows.append(
            {"samples / s and core, from": f"files of {size / 1000:.0f} KB ({types})"}
            | {name: round(rate) for name, rate in rates.items()}
            | {"ratio": ours / theirs}
        )
    report(rows, as_json=args.json)


def make(index: int, point_type: type, embedding_type: type) -> dict:
    """A shape of the real size."""
    shape = make_shape("Objaverse", index, NUM_POINTS, EMBEDDING_SIZE)
    shape |= {key: shape[key].astype(point_type) for key in ("xyz", "rgb")}

    def cast(value):
        if isinstance(value, np.ndarray):
            return value.astype(embedding_type)
        if isinstance(value, dict):
            return {key: cast(entry) for key, entry in value.items()}
        return [cast(entry) for entry in value]

    # One text with two embeddings and four retrieved ones with one, beside the two captions.
    shape |= {"text": shape["text"][:1], "text_feat": shape["text_feat"][:1]}
    return shape | {key: cast(value) for key, value in shape.items() if key.endswith("_feat")}


def write_files(folder: Path, count: int, point_type: type, embedding_type: type) -> list[Path]:
    """The original's files."""
    paths = []
    for index in range(count):
        path = folder / f"{index}.npy"
        path.write_bytes(npy_bytes(make(index, point_type, embedding_type)))
        paths.append(path)
    return paths


def convert(folder: Path, paths: list[Path]) -> Path:
    """The same shapes as shards."""
    records = (
        read_shape(path.read_bytes(), path.name, "Objaverse", EMBEDDING_SIZE, lambda _: "Y")
        for path in paths
    )
    card = DatasetCard("objaverse", "clip", EMBEDDING_SIZE, NUM_POINTS, 12)
    write_dataset(folder, card, {"train": records})
    return folder


def original_batches(paths: list[Path]) -> Callable[[], object]:
    """A function that makes the original's next batch."""
    order = itertools.cycle(np.random.default_rng(0).permutation(len(paths)).tolist())
    return lambda: read_batch([paths[next(order)] for _ in range(BATCH)], NUM_POINTS)


def batches_of(shards: Path, *, for_encoder: bool) -> Callable[[], object]:
    """A function that makes this project's next batch and waits for it."""
    source = open_split(shards, "train")
    batches: Iterator = train_batches(
        source,
        PipelineConfig(NUM_POINTS, ViewPolicy(4, "random", 0.5), seed=0, num_threads=1),
        BATCH,
        batch_sharding(make_mesh(1, -1, 1)),
        start_step=0,
        order=EpochOrder(len(source), seed=0),
    )
    keys = (jax.random.key(step) for step in itertools.count())
    prepare = jax.jit(
        lambda key, points, colors: augment(key, *unpack_clouds(points, colors), AugmentConfig())
    )

    def next_batch() -> object:
        batch = next(batches)
        if not for_encoder:
            return jax.block_until_ready(batch)
        points, colors = prepare(next(keys), batch["points"], batch["colors"])
        return jax.block_until_ready(batch | {"points": points, "colors": colors})

    return next_batch


def measure(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The median processor time of a batch, all sides in turns."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for repetition in range(rounds + 2):  # the first two compile and fill the prefetched batches
        for name, next_batch in sides.items():
            started = time.process_time()
            for _ in range(_BATCHES_A_TURN):
                next_batch()
            # Batches are read ahead: those belong to the side that reads them.
            time.sleep(_SETTLING)
            if repetition > 1:
                times[name].append((time.process_time() - started) / _BATCHES_A_TURN)
    return {name: statistics.median(values) for name, values in times.items()}


if __name__ == "__main__":
    main()
