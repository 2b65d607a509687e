"""Source folders and runs of the command, for tests of the conversion."""

import gzip
import io
import json
import tarfile
from pathlib import Path

from data_prep.openshape.__main__ import main
from data_prep.openshape.gpt4_flags import META_DATA_FILE
from mixcon3d_jax.data.schema import Record, decode_record
from mixcon3d_jax.data.source import open_split
from tests.openshape_files import make_shape, npy_bytes, shape_id

EMBEDDING_SIZE = 8
NUM_POINTS = 20


def convert(source: Path, output: Path, *flags: str, workers: int = 1) -> int:
    """Runs the command, with three shapes a shard."""
    return main(
        [
            f"--source={source}",
            f"--output={output}",
            f"--workers={workers}",
            "--shard-size=3",
            *flags,
        ]
    )


def shape_files(dataset: str, count: int, start: int = 0) -> list[tuple[str, bytes]]:
    """Names and content of regular shapes, in the order of their names."""
    return [
        (f"p/{index:03d}.npy", npy_bytes(make_shape(dataset, index, NUM_POINTS, EMBEDDING_SIZE)))
        for index in range(start, start + count)
    ]


def write_files(folder: Path, files: list[tuple[str, bytes]]) -> None:
    for name, content in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def tar_bytes(files: list[tuple[str, bytes]], others: list[tarfile.TarInfo] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for entry in others or []:
            archive.addfile(entry)
    return buffer.getvalue()


def write_tar_gz(path: Path, files, others=None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(tar_bytes(files, others), 1))


def write_flags(source: Path, flags: dict[str, str]) -> None:
    path = source / META_DATA_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({record_id: {"flag": flag} for record_id, flag in flags.items()}))


def records(directory: Path) -> list[Record]:
    source = open_split(directory, "train")
    return [decode_record(source[index]) for index in range(len(source))]


def ids(directory: Path) -> list[str]:
    return [record.id for record in records(directory)]


def expected_ids(dataset: str, *indices: int) -> list[str]:
    return [shape_id(dataset, index) for index in indices]


def report(directory: Path) -> dict:
    return json.loads((directory / "report.json").read_text())


def content(directory: Path) -> dict[str, bytes]:
    """Every file of a data set but those that tell where it came from."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.name not in ("conversion.json", "report.json")
    }
