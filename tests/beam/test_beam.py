"""Conversion with Apache Beam: the same bytes as without, and nothing lost unseen."""

import apache_beam
import pytest

from data_prep.openshape import beam
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.files import WriteError
from tests.data_prep.openshape.folders import (
    content,
    convert,
    expected_ids,
    ids,
    report,
    shape_files,
    write_files,
    write_tar_gz,
)
from tests.openshape_files import Layout, make_openshape_folder

SMALL = Layout({"Objaverse": 12, "ShapeNet": 7, "ABO": 4, "3D-FUTURE": 10}, 20, 8)
FOLDERS = ("objaverse", "shapenet", "abo", "three_d_future")
DIRECT = "--beam-runner=DirectRunner"


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--direct_running_mode=multi_processing", "--direct_num_workers=2"],
        ["--direct_running_mode=multi_threading", "--direct_num_workers=2"],
    ],
    ids=["in_memory", "multi_processing", "multi_threading"],
)
def test_the_same_bytes_as_without_beam(tmp_path, options):
    source = make_openshape_folder(tmp_path / "source", SMALL)
    assert convert(source, tmp_path / "plain") == 0
    # Threads of `DirectRunner` lose elements now and then: then the same command continues.
    statuses = [_status(source, tmp_path / "beam", DIRECT, "--", *options) for _ in range(5)]
    assert statuses == [2] * statuses.count(2) + [0] * statuses.count(0)
    assert 0 in statuses
    for folder in FOLDERS:
        assert content(tmp_path / "beam" / folder) == content(tmp_path / "plain" / folder)


def _status(*arguments) -> int:
    try:
        return convert(*arguments)
    except SystemExit as exited:
        return exited.code


def test_what_a_runner_loses_is_noticed_and_done_next_time(tmp_path, monkeypatch, capsys):
    write_tar_gz(tmp_path / "source/ABO.tar.gz", shape_files("ABO", 4))
    write_files(tmp_path / "source/ShapeNet", shape_files("ShapeNet", 8))
    create = apache_beam.Create
    monkeypatch.setattr(apache_beam, "Create", lambda values: create(values[:-2]))
    with pytest.raises(SystemExit) as exited:
        convert(tmp_path / "source", tmp_path / "out", DIRECT)
    assert exited.value.code == 2
    assert "passed over 2 of 4 parts of the source" in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("card.json"))
    monkeypatch.undo()
    assert convert(tmp_path / "source", tmp_path / "out", DIRECT) == 0
    assert ids(tmp_path / "out/abo") == expected_ids("ABO", *range(4))
    assert ids(tmp_path / "out/shapenet") == expected_ids("ShapeNet", *range(8))


def test_failures_are_reported_as_without_beam(tmp_path):
    files = shape_files("ABO", 4)
    write_files(tmp_path / "source/ABO", [*files, ("z.npy", b"bad")])
    assert convert(tmp_path / "source", tmp_path / "beam", DIRECT) == 1
    assert convert(tmp_path / "source", tmp_path / "plain") == 1
    assert report(tmp_path / "beam/abo") == report(tmp_path / "plain/abo")


def _fail_on_last(monkeypatch, error: Exception) -> None:
    original = beam.convert

    def convert_or_fail(job):
        if "files-0000006" in job.unit.name:
            raise error
        original(job)

    monkeypatch.setattr(beam, "convert", convert_or_fail)


def test_a_pipeline_that_fails_is_named_and_keeps_what_is_finished(tmp_path, monkeypatch, capsys):
    write_files(tmp_path / "source/ABO", shape_files("ABO", 8))
    _fail_on_last(monkeypatch, WriteError("the disk is full"))
    with pytest.raises(SystemExit) as exited:
        convert(tmp_path / "source", tmp_path / "out", DIRECT)
    assert exited.value.code == 2
    message = capsys.readouterr().err
    assert "the Beam pipeline failed" in message
    assert "the disk is full" in message
    assert "Finished shards are kept" in message
    monkeypatch.undo()
    assert convert(tmp_path / "source", tmp_path / "out") == 0
    assert ids(tmp_path / "out/abo") == expected_ids("ABO", *range(8))


def test_a_fault_of_the_program_keeps_its_traceback(tmp_path, monkeypatch):
    write_files(tmp_path / "source/ABO", shape_files("ABO", 8))
    _fail_on_last(monkeypatch, TypeError("the machine is on fire"))
    with pytest.raises(Exception, match="the machine is on fire") as raised:
        convert(tmp_path / "source", tmp_path / "out", DIRECT)
    assert not isinstance(raised.value, InputError)
    assert "Finished shards are kept" in raised.value.__notes__[0]


def test_options_are_the_pipelines(tmp_path, capsys):
    write_files(tmp_path / "source/ABO", shape_files("ABO", 2))
    for flags in ([f"{DIRECT}x"], [DIRECT, "--", "--direct_running_mode=sideways"]):
        with pytest.raises(SystemExit) as exited:
            convert(tmp_path / "source", tmp_path / "out", *flags)
        assert exited.value.code == 2
        assert "error:" in capsys.readouterr().err
