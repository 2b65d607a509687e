import errno
import subprocess
import sys

import pytest

from data_prep.storage import DiskFullError, report_full_disk, write_whole


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
def test_full_disks_met_by_others_name_their_file(tmp_path, number):
    with (
        pytest.raises(DiskFullError, match=r"shard-00.*7 MB are needed.*Finished work is kept"),
        report_full_disk(tmp_path),
    ):
        raise OSError(number, "7 MB are needed", str(tmp_path / "shard-00"))


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(PermissionError), report_full_disk(tmp_path):
        raise PermissionError(errno.EACCES, "no")
