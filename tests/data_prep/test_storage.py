import errno
import subprocess
import sys

import pytest

from data_prep.storage import DiskFullError, write_whole


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "new" / "a.bin"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["a.bin"]


def test_a_real_limit_on_writing_is_reported_and_keeps_the_old_file(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"old")
    program = (
        "import resource, sys; from pathlib import Path; from data_prep.storage import *\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_whole(Path(sys.argv[1]), bytes(50_000))\n"
        "except DiskFullError as error: print(error)"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path / "a.bin")]
    said = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    assert "a.bin" in said
    assert "the disk is full (0.050 MB for it; " in said
    assert "run the same command again" in said
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"old"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_while_making_the_folder(tmp_path, monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, "no")

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with pytest.raises(DiskFullError, match=r"a\.bin: the disk is full.*Finished work is kept"):
        write_whole(tmp_path / "new" / "a.bin", b"data")


def test_other_errors_stay_what_they_are(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        write_whole(tmp_path / "file" / "a" / "b.bin", b"data")
