"""Archives that break off, and runs that are ended at the worst moment, lose nothing for good."""

import gzip
import io

import numpy as np
import pytest
from etils import epath

from data_prep.openshape.finished import Finished
from tests.data_prep.openshape.folders import (
    content,
    convert,
    expected_ids,
    ids,
    report,
    shape_files,
    tar_bytes,
    write_tar_gz,
)
from tests.openshape_files import make_shape, npy_bytes


class _FailingFile(io.BytesIO):
    """A file on a disk that fails at some byte."""

    def __init__(self, data: bytes, good: int):
        super().__init__(data)
        self._good = good

    def read(self, size=-1):
        if self.tell() + size > self._good:
            raise OSError(5, "Input/output error")
        return super().read(size)


@pytest.fixture
def disk(monkeypatch):
    """Lets the disk fail at a byte of every archive; at none if that is None."""
    fails = {"at": None}
    original = type(epath.Path("/")).open

    def open_(path, mode="r", **others):
        file = original(path, mode, **others)
        if fails["at"] is None or not str(path).endswith(".tar.gz"):
            return file
        with file:
            return _FailingFile(file.read(), fails["at"])

    monkeypatch.setattr(type(epath.Path("/")), "open", open_)
    return fails


def _kill(*_) -> None:
    raise KeyboardInterrupt


def noisy_archive(path, count: int) -> bytes:
    """Shapes of 70 kB each that don't shrink, so that a byte of the archive is one of a shape."""
    random = np.random.default_rng(0)
    files = []
    for index in range(count):
        shape = make_shape("ABO", index, 20, 8) | {"ballast": random.bytes(70_000)}
        files.append((f"{index}.npy", npy_bytes(shape)))
    packed = gzip.compress(tar_bytes(files), 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed)
    return packed


@pytest.mark.parametrize("breaks", [(5.5,), (5.5, 1.5), (5.5, 4.4), (6.5, 0.0), (2.5, 5.5, 4.5)])
def test_a_disk_that_failed_in_mid_archive_costs_nothing_once_it_works(tmp_path, disk, breaks):
    source, out = tmp_path / "source", tmp_path / "out"
    packed = noisy_archive(source / "ABO.tar.gz", 9)
    for position in breaks:
        disk["at"] = int(position / 9 * len(packed))
        assert convert(source, out, "--embedding-size=8") in (1, 2)
    disk["at"] = None
    assert convert(source, out) == 0
    assert ids(out / "abo") == expected_ids("ABO", *range(9))
    assert convert(source, tmp_path / "fresh") == 0
    assert content(out / "abo") == content(tmp_path / "fresh/abo")


def test_a_failing_disk_is_not_called_a_damaged_archive(tmp_path, disk, capsys):
    packed = noisy_archive(tmp_path / "source/ABO.tar.gz", 6)
    disk["at"] = len(packed) // 2
    assert convert(tmp_path / "source", tmp_path / "out", "--embedding-size=8") == 1
    (broken,) = report(tmp_path / "out/abo")["broken_archives"]
    assert broken["reason"].startswith(
        "ABO.tar.gz: can't be read ([Errno 5] Input/output error) at"
    )
    assert broken["reason"].endswith("are kept; run the same command again")


def test_finished_shards_stay_when_the_disk_fails_before_their_end(tmp_path, disk):
    source, out = tmp_path / "source", tmp_path / "out"
    packed = noisy_archive(source / "ABO.tar.gz", 9)
    for position, kept in ((7.5, 7), (1.5, 6)):
        disk["at"] = int(position / 9 * len(packed))
        assert convert(source, out, "--embedding-size=8") == 1
        assert kept - 1 <= len(ids(out / "abo")) <= kept


def test_a_truncated_archive_whose_run_was_killed_before_its_last_word(tmp_path, monkeypatch):
    source, out = tmp_path / "source", tmp_path / "out"
    packed = noisy_archive(source / "ABO.tar.gz", 9)
    (source / "ABO.tar.gz").write_bytes(packed[: int(len(packed) * 5.5 / 9)])
    with monkeypatch.context() as patch:
        patch.setattr(Finished, "add_unit", _kill)
        with pytest.raises(KeyboardInterrupt):
            convert(source, out)
    assert convert(source, out, "--max-failures=1") == 0
    assert ids(out / "abo") == expected_ids("ABO", *range(5))
    assert report(out / "abo")["counts"]["broken_archives"] == 1


def test_shards_that_do_not_join_up_are_made_again(tmp_path, monkeypatch):
    source, out = tmp_path / "source", tmp_path / "out"
    write_tar_gz(source / "ABO.tar.gz", shape_files("ABO", 8))
    original = Finished.add_shard

    def add_shard(finished, unit, index, shard):
        if index == 1:
            shard = type(shard)(**(vars(shard) | {"first": 4}))
        original(finished, unit, index, shard)

    with monkeypatch.context() as patch:
        patch.setattr(Finished, "add_shard", add_shard)
        with pytest.raises(SystemExit):
            convert(source, out)
    assert convert(source, out) == 0
    assert ids(out / "abo") == expected_ids("ABO", *range(8))
