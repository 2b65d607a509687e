"""Encoding and decoding of records, against the original's files.

    python -m benchmarks.records [--rounds=15] [--json]

Shapes of the real size (10,000 points, 12 + 1 image embeddings of 1280, three texts with two
embeddings and four with one), one at a time, in memory, on one core: this project's records, and
the pickled dictionaries of the original, as it writes and reads them.
"""

import argparse
import io
import os
from collections.abc import Callable

import numpy as np

from benchmarks.reading import EMBEDDING_SIZE, FORMATS, make
from benchmarks.timing import report, take_turns
from data_prep.openshape.shape import read_shape
from mixcon3d_jax.data.schema import encode_record, parse_example, serialize_example
from tests.openshape_files import npy_bytes

_SHAPES = 16  # a turn


def main() -> None:
    """Prints a row for each side and direction."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    shapes = [make(index, *FORMATS[0]) for index in range(_SHAPES)]
    files = [npy_bytes(shape) for shape in shapes]
    records = [
        read_shape(file, f"{index}.npy", "Objaverse", EMBEDDING_SIZE, lambda _: "Y")
        for index, file in enumerate(files)
    ]

    def encoded(record) -> bytes:
        return serialize_example(encode_record(record, EMBEDDING_SIZE), EMBEDDING_SIZE)

    stored = [encoded(record) for record in records]
    sides: dict[tuple[str, str], Callable[[], object]] = {
        ("encode", "this project"): lambda: [encoded(record) for record in records],
        ("encode", "the original's files"): lambda: [npy_bytes(shape) for shape in shapes],
        ("decode", "this project"): lambda: [parse_example(one, EMBEDDING_SIZE) for one in stored],
        ("decode", "the original's files"): lambda: [_loaded(file) for file in files],
    }
    size = {"this project": len(stored[0]), "the original's files": len(files[0])}
    took = take_turns({", ".join(names): run for names, run in sides.items()}, args.rounds)
    rows = [
        {
            "records of 10,000 points": direction,
            "side": side,
            "records / s": round(_SHAPES / took[f"{direction}, {side}"].median),
            "KB a record": round(size[side] / 1000),
        }
        for direction, side in sides
    ]
    report(rows, as_json=args.json)


def _loaded(file: bytes) -> dict:
    return np.load(io.BytesIO(file), allow_pickle=True).item()


if __name__ == "__main__":
    main()
