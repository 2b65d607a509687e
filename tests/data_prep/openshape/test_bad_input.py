"""What is wrong with a source is named, and costs nothing else."""

import gzip
import os
import resource
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from tests.data_prep.openshape.folders import (
    content,
    convert,
    expected_ids,
    ids,
    report,
    shape_files,
    tar_bytes,
    write_files,
    write_flags,
    write_tar_gz,
)
from tests.openshape_files import make_shape, npy_bytes


def noisy_files(count: int) -> list[tuple[str, bytes]]:
    """Files that don't shrink, so that a cut archive lacks some of them."""
    return [(f"{i}.npy", npy_bytes(make_shape("ABO", i, 500, 8))) for i in range(count)]


def refused(source, output, capsys, *flags) -> str:
    """The message with which the command ends."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exited:
        convert(source, output, *flags)
    assert exited.value.code == 2
    return capsys.readouterr().err


def test_a_truncated_archive_keeps_every_shape_before_the_break(tmp_path, capsys):
    source, out = tmp_path / "source", tmp_path / "out"
    write_files(source / "ABO", shape_files("ABO", 2, start=50))
    whole = gzip.compress(tar_bytes(noisy_files(10)), 1)
    (source / "ABO/x.tar.gz").write_bytes(whole[: len(whole) * 3 // 5])
    assert convert(source, out) == 1
    kept = len(ids(out / "abo")) - 2
    assert 5 <= kept <= 6
    assert ids(out / "abo") == expected_ids("ABO", *range(kept), 50, 51)
    counts = report(out / "abo")["counts"]
    assert counts == {"shapes": kept + 2, "converted": kept + 2, "failed": 0, "broken_archives": 1}
    reason = report(out / "abo")["broken_archives"][0]["reason"]
    assert reason.startswith(f"ABO/x.tar.gz: ends too early at byte {len(whole) * 3 // 5} (byte ")
    assert f"after '{kept}.npy' began).  The shapes before that are kept; download" in reason
    assert reason in capsys.readouterr().err

    assert convert(source, out, "--max-failures=1") == 0
    assert "nothing to do" in capsys.readouterr().out
    (source / "ABO/x.tar.gz").write_bytes(whole)
    assert convert(source, out) == 0
    assert ids(out / "abo") == expected_ids("ABO", *range(10), 50, 51)


def test_an_archive_that_is_none_is_named(tmp_path, capsys):
    source, out = tmp_path / "source", tmp_path / "out"
    write_files(source / "ABO", shape_files("ABO", 2))
    (source / "ABO/x.tar.gz").write_bytes(b"<html>404 Not Found</html>")
    assert convert(source, out) == 1
    assert ids(out / "abo") == expected_ids("ABO", 0, 1)
    assert "ABO/x.tar.gz: is not gzip: it begins with b'<html>404 No'" in capsys.readouterr().err


def test_members_that_could_reach_elsewhere_are_refused_and_reported(tmp_path, capsys):
    link = tarfile.TarInfo("p/link.npy")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    others = [tarfile.TarInfo("../x.npy"), tarfile.TarInfo("/etc/x.npy"), link]
    write_tar_gz(tmp_path / "source/ABO.tar.gz", shape_files("ABO", 2), others)
    assert convert(tmp_path / "source", tmp_path / "out") == 1
    assert ids(tmp_path / "out/abo") == expected_ids("ABO", 0, 1)
    errors = capsys.readouterr().err
    for name, reason in (
        ("../x.npy", "its name leads out of the archive"),
        ("/etc/x.npy", "its name leads out of the archive"),
        ("p/link.npy", "it is a link (to '/etc/passwd')"),
    ):
        assert f"failed: ABO.tar.gz:{name}: is refused, because {reason}\n" in errors
    assert report(tmp_path / "out/abo")["counts"]["failed"] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


class _Payload:
    def __init__(self, target):
        self._target = target

    def __reduce__(self):
        return os.system, (f"touch {self._target}",)


@pytest.mark.parametrize("packed", [True, False])
def test_a_hostile_file_does_not_run(tmp_path, capsys, packed):
    ran = tmp_path / "ran"
    bad = make_shape("ABO", 1, 20, 8) | {"xyz": _Payload(ran)}
    files = [*shape_files("ABO", 1), ("bad.npy", npy_bytes(bad))]
    if packed:
        write_tar_gz(tmp_path / "source/ABO.tar.gz", files)
    else:
        write_files(tmp_path / "source/ABO", files)
    assert convert(tmp_path / "source", tmp_path / "out") == 1
    assert not ran.exists()
    assert ids(tmp_path / "out/abo") == expected_ids("ABO", 0)
    assert "bad.npy: names posix.system, which is no array" in capsys.readouterr().err
    np.load(tmp_path / "source/ABO/bad.npy", allow_pickle=True) if not packed else None
    assert ran.exists() != packed


def test_bad_shapes_are_reported_with_file_field_and_position(tmp_path):
    bad = {
        "nan": {"xyz": np.full((20, 3), np.nan)},
        "empty": {"xyz": np.zeros((0, 3)), "rgb": np.zeros((0, 3))},
        "short": {"rgb": np.zeros((19, 3))},
        "size": {"image_feat": np.zeros((12, 7))},
        "dataset": {"dataset": "Thingi10K"},
        "id": {"id": ""},
    }
    files = shape_files("ABO", 2)
    for index, (name, fields) in enumerate(bad.items()):
        shape = make_shape("ABO", 10 + index, 20, 8) | fields
        files.insert(1, (f"{name}.npy", npy_bytes(shape)))
    write_tar_gz(tmp_path / "source/ABO.tar.gz", files)
    assert convert(tmp_path / "source", tmp_path / "out") == 1
    assert ids(tmp_path / "out/abo") == expected_ids("ABO", 0, 1)
    failures = report(tmp_path / "out/abo")["failures"]
    fields = ["id", "dataset", "image_feat", "rgb", "xyz", "xyz"]
    plain = gzip.decompress((tmp_path / "source/ABO.tar.gz").read_bytes())
    for failure, name, field in zip(failures, reversed(bad), fields, strict=True):
        assert failure["file"] == f"ABO.tar.gz:{name}.npy"
        assert failure["reason"].startswith(f"ABO.tar.gz:{name}.npy, field {field!r}: ")
        assert plain[failure["position"] :].startswith(f"{name}.npy\0".encode())
    assert convert(tmp_path / "source", tmp_path / "out", "--max-failures=6") == 0


def test_shards_without_a_good_shape_are_left_out(tmp_path):
    files = shape_files("ABO", 9)
    files[3:6] = [(name, b"bad") for name, _ in files[3:6]]
    write_files(tmp_path / "loose/ABO", files)
    write_tar_gz(tmp_path / "packed/ABO.tar.gz", files)
    for name in ("loose", "packed"):
        assert convert(tmp_path / name, tmp_path / f"out-{name}") == 1
        assert ids(tmp_path / f"out-{name}/abo") == expected_ids("ABO", 0, 1, 2, 6, 7, 8)
        files_left = content(tmp_path / f"out-{name}/abo")
        assert sum("array_record" in file for file in files_left) == 2
        assert convert(tmp_path / name, tmp_path / f"out-{name}", "--max-failures=3") == 0


def test_no_good_shape_at_all_makes_no_data_set(tmp_path, capsys):
    write_files(tmp_path / "source/ABO", [("a.npy", b"bad")])
    write_files(tmp_path / "source/ShapeNet", shape_files("ShapeNet", 2))
    assert convert(tmp_path / "source", tmp_path / "out") == 2
    assert "ABO: no shape could be converted" in capsys.readouterr().err
    assert not (tmp_path / "out/abo/card.json").exists()
    assert len(ids(tmp_path / "out/shapenet")) == 2


def test_a_file_that_can_not_be_read_is_tried_again(tmp_path, capsys):
    source, out = tmp_path / "source", tmp_path / "out"
    files = shape_files("ABO", 4)
    write_files(source / "ABO", files[:3])
    (source / "ABO/z.npy").symlink_to(tmp_path / "elsewhere.npy")
    assert convert(source, out) == 1
    assert "ABO/z.npy: can't be read ([Errno 2] No such file" in capsys.readouterr().err
    assert convert(source, out) == 1
    assert "nothing to do" not in capsys.readouterr().out
    (tmp_path / "elsewhere.npy").write_bytes(files[3][1])
    assert convert(source, out) == 0
    assert ids(out / "abo") == expected_ids("ABO", *range(4))


def test_a_full_disk_keeps_what_is_finished(tmp_path):
    """A real refusal of the system: files may have 300 kB, and the second shard has more."""
    source, out = tmp_path / "source", tmp_path / "out"
    files = shape_files("ABO", 4)
    large = [(f"q{i}.npy", npy_bytes(make_shape("ABO", 10 + i, 20_000, 8))) for i in range(3)]
    write_files(source / "ABO", [*files[:3], *large])
    command = [sys.executable, "-m", "data_prep.openshape", f"--source={source}"]
    flags = [f"--output={out}", "--workers=1", "--shard-size=3"]

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))

    done = subprocess.run([*command, *flags], capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 2, done.stderr
    assert "make room" in done.stderr.splitlines()[-1]
    assert [path.name for path in out.rglob("*.shard")] == ["files-0000000.00000.shard"]
    assert convert(source, out) == 0
    assert ids(out / "abo") == expected_ids("ABO", 0, 1, 2, 10, 11, 12)


def test_a_source_without_data_is_named(tmp_path, capsys):
    out = tmp_path / "out"
    assert "is no folder" in refused(tmp_path / "none", out, capsys)
    (tmp_path / "source").mkdir()
    assert "holds nothing of Objaverse, ShapeNet" in refused(tmp_path / "source", out, capsys)
    message = refused(tmp_path / "source", out, capsys, "--datasets=ABO")
    assert "holds nothing of ABO: neither ABO.tar.gz nor files in ABO/" in message
    assert not out.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "gpt4_filtering.json is missing"),
        ("{", "gpt4_filtering.json is no JSON"),
        ("[]", "holds no object of ids and flags"),
        ('{"a": {"flag": "maybe"}}', "the entry of 'a' has no flag that is one of Y, N"),
        ('{"a": "Y"}', "the entry of 'a' has no flag that is one of Y, N"),
    ],
)
def test_missing_or_damaged_flags_are_named(tmp_path, capsys, content, message):
    source = tmp_path / "source"
    write_files(source / "Objaverse", shape_files("Objaverse", 2))
    if content is not None:
        write_flags(source, {})
        (source / "meta_data/gpt4_filtering.json").write_text(content)
    assert message in refused(source, tmp_path / "out", capsys)


def test_flags_of_the_command_are_checked(tmp_path, capsys):
    source, out = tmp_path / "source", tmp_path / "out"
    write_files(source / "ABO", shape_files("ABO", 2))
    assert "'abo' is none of Objaverse" in refused(source, out, capsys, "--datasets=abo")
    assert "no whole number of 1 or more" in refused(source, out, capsys, "--limit=0")
    message = refused(source, out, capsys, "--", "--project=x")
    assert "--project=x: options after -- are Beam's; name --beam-runner" in message


def test_beam_that_is_not_installed_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    write_files(tmp_path / "source/ABO", shape_files("ABO", 2))
    message = refused(tmp_path / "source", tmp_path / "out", capsys, "--beam-runner=DirectRunner")
    assert "pip install 'mixcon3d-jax[beam]'" in message


def test_an_output_that_can_not_be_written_is_named(tmp_path, capsys):
    write_files(tmp_path / "source/ABO", shape_files("ABO", 2))
    (tmp_path / "out").write_text("a file")
    assert "can't be written" in refused(tmp_path / "source", tmp_path / "out", capsys)
