import errno
import subprocess
import sys

import pytest

from mixcon3d_jax.files import WriteError, check_writable, write_whole


def test_a_folder_that_can_be_written_is_made_and_left_empty(tmp_path):
    check_writable(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []


def test_a_folder_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match=r"file/out can't be written \(Not a directory\)"):
        check_writable(tmp_path / "file" / "out")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_refuses_files(tmp_path, monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, "no")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(WriteError, match=rf"{tmp_path} can't be written \(no\)"):
        check_writable(tmp_path)


def test_a_real_limit_on_writing_is_reported_and_keeps_the_old_file(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"old")
    program = (
        "import resource, sys; from pathlib import Path; from mixcon3d_jax.files import *\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_whole(Path(sys.argv[1]), bytes(50_000))\n"
        "except WriteError as error: print(error)"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path / "a.bin")]
    said = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    assert "a.bin can't be written (File too large)" in said
    assert "run the same command again" in said
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"old"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES])
def test_a_refusal_while_making_the_folder(tmp_path, monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, "no")

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with pytest.raises(WriteError, match=r"a\.bin can't be written.*Finished work is kept"):
        write_whole(tmp_path / "new" / "a.bin", b"data")
