"""Source and output in a bucket (`gs://`), which is a part of memory here."""

import shutil
from pathlib import Path

import fsspec
import pytest
from etils.epath import backend
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from tests.data_prep.openshape.folders import (
    content,
    convert,
    expected_ids,
    ids,
    shape_files,
    write_files,
    write_tar_gz,
)


class _Bucket(MemoryFileSystem):
    """Calls paths what the file system of Google's buckets calls them: no slash in front."""

    protocol = ("gcs", "gs")
    store: dict = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path):
        path = str(path).removeprefix("gs://").removeprefix("gcs://")
        return MemoryFileSystem._strip_protocol(path)

    def glob(self, path, **kwargs):
        return [name.lstrip("/") for name in super().glob(path, **kwargs)]

    def info(self, path, **kwargs):
        found = super().info(path, **kwargs)
        return found | ({"mtime": found["created"]} if "created" in found else {})


@pytest.fixture
def bucket(monkeypatch):
    monkeypatch.setattr(_Bucket, "store", {})
    monkeypatch.setattr(_Bucket, "pseudo_dirs", [""])
    fsspec.register_implementation("gcs", _Bucket, clobber=True)
    backend.fsspec_backend._get_filesystem.cache_clear()
    _Bucket.clear_instance_cache()
    yield fsspec.filesystem("gcs")
    backend.fsspec_backend._get_filesystem.cache_clear()
    _registry.pop("gcs")


def _upload(bucket, folder: Path, name: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            bucket.pipe_file(f"gs://{name}/{path.relative_to(folder)}", path.read_bytes())


def _download(bucket, name: str, folder: Path) -> None:
    for path in bucket.find(name):
        target = folder / path.lstrip("/").removeprefix(name).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(bucket.cat_file(path))


def test_the_same_data_set_as_on_a_disk(tmp_path, bucket, capsys):
    source = tmp_path / "source"
    write_files(source / "ABO/loose", shape_files("ABO", 5))
    write_tar_gz(source / "ABO/x.tar.gz", shape_files("ABO", 4, start=10))
    convert(source, tmp_path / "local")
    _upload(bucket, source, "b/source")
    assert convert("gs://b/source", "gs://b/out") == 0
    _download(bucket, "b/out/abo", tmp_path / "fetched")
    assert content(tmp_path / "fetched") == content(tmp_path / "local/abo")
    assert ids(tmp_path / "fetched") == expected_ids("ABO", 10, 11, 12, 13, *range(5))
    assert not bucket.find("b/out/abo/.unfinished")

    assert convert("gs://b/source", "gs://b/out") == 0
    assert "nothing to do" in capsys.readouterr().out
    bucket.rm("gs://b/source/ABO/loose/p/004.npy")
    bucket.pipe_file("gs://b/source/ABO/loose/p/005.npy", shape_files("ABO", 1, 5)[0][1])
    assert convert("gs://b/source", "gs://b/out") == 0
    shutil.rmtree(tmp_path / "fetched")
    _download(bucket, "b/out/abo", tmp_path / "fetched")
    assert ids(tmp_path / "fetched") == expected_ids("ABO", 10, 11, 12, 13, 0, 1, 2, 3, 5)
