"""Speed, record size and memory of the conversion of OpenShape's training data.

    python -m benchmarks.conversion

Makes shapes of the real size (10,000 points, 12 + 1 image embeddings of 1280, three texts with two
embeddings and four with one) in a temporary folder, and converts them with one process:

* speed: 1,000 loose files, in both formats that the original's files may have, read once before so
  that they come from memory; times are those of the processor, all threads together, and the
  whole command's, reports and checksums included, without the start of Python;
* memory: the largest that the process had at any time, for archives of 500 and of 5,000 shapes.
"""

import argparse
import contextlib
import dataclasses
import io
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.reading import EMBEDDING_SIZE, FORMATS, make
from mixcon3d_jax.data.source import open_split
from tests.openshape_files import npy_bytes, write_archive

# Shapes that differ in more than their id.
_DISTINCT = 20
# Clouds that are coarse enough for the archives to be small; reading them takes the same memory.
_COARSE = 32


@dataclasses.dataclass(frozen=True)
class Measured:
    """One conversion: processor and wall time in seconds, largest memory in bytes."""

    processor: float
    wall: float
    memory: int


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", type=int, default=1000, help="loose files (default: 1000)")
    parser.add_argument("--repeat", type=int, default=3, help="conversions of them (default: 3)")
    parser.add_argument("--folder", help="where the temporary folder goes; it gets up to 1.2 GB")
    args = parser.parse_args()
    for point_type, embedding_type in FORMATS:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            print(_speed(Path(folder), args, point_type, embedding_type), flush=True)
    for count in (500, 5000):
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            source = Path(folder) / "source"
            write_archive(source / "ABO.tar.gz", _files(count, np.float16, np.float32, _COARSE))
            memory = _convert_elsewhere(source, Path(folder) / "out").memory
        print(f"memory with {count} shapes: {memory / 1e6:.0f} MB at most", flush=True)


def _speed(folder: Path, args: argparse.Namespace, point_type: type, embedding_type: type) -> str:
    size = 0
    for name, content in _files(args.shapes, point_type, embedding_type):
        path = folder / "source" / "ABO" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        size += len(content)
    runs = [
        _convert_elsewhere(folder / "source", folder / f"out-{repetition}")
        for repetition in range(args.repeat)
    ]
    processor = statistics.median(run.processor for run in runs)
    wall = statistics.median(run.wall for run in runs)
    converted = folder / "out-0" / "abo"
    records = open_split(converted, "train")
    stored = sum(path.stat().st_size for path in converted.glob("*.array_record-*"))
    return (
        f"files of {size / args.shapes / 1000:.0f} KB (points {point_type.__name__}, embeddings "
        f"{embedding_type.__name__}): {args.shapes / processor:.0f} shapes/s a core "
        f"({args.shapes / wall:.0f} shapes/s by the clock), "
        f"{stored / len(records) / 1000:.1f} KB a record"
    )


def _files(
    count: int, point_type: type, embedding_type: type, coarse: int | None = None
) -> Iterator[tuple[str, bytes]]:
    """Names and content of files whose ids are all different."""
    contents = []
    for index in range(min(count, _DISTINCT)):
        shape = make(index, point_type, embedding_type) | {"dataset": "ABO"}
        if coarse:
            shape |= {key: (shape[key] * coarse).round() / coarse for key in ("xyz", "rgb")}
        contents.append((shape["id"].encode(), npy_bytes(shape)))
    for index in range(count):
        old_id, content = contents[index % len(contents)]
        new_id = f"{index:0{len(old_id)}x}"
        yield f"{new_id}.npy", content.replace(old_id, new_id.encode())


def _convert_elsewhere(source: Path, output: Path) -> Measured:
    """Converts in a new process, whose memory nothing else has enlarged."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(_convert, source, output).result()


def _convert(source: Path, output: Path) -> Measured:
    # The heavy imports belong to the start of Python.
    import data_prep.openshape.conversion  # noqa: F401
    from data_prep.openshape.__main__ import main as convert

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for path in source.rglob("*.npy"):
        path.read_bytes()
    flags = [f"--source={source}", f"--output={output}", f"--embedding-size={EMBEDDING_SIZE}"]
    processor, wall = time.process_time(), time.perf_counter()
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        status = convert([*flags, "--workers=1"])
    if status:
        raise RuntimeError(f"the conversion ended with status {status}")
    return Measured(time.process_time() - processor, time.perf_counter() - wall, _largest_memory())


def _largest_memory() -> int:
    """In bytes; `getrusage` would count that of the process which started this one."""
    status = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
