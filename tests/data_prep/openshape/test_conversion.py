"""The conversion as a whole: what comes out, what is done again, and what is not."""

import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest

from data_prep.openshape import convert as convert_module
from mixcon3d_jax.data.source import read_card
from mixcon3d_jax.files import WriteError
from tests.data_prep.openshape.folders import (
    content,
    convert,
    expected_ids,
    ids,
    records,
    report,
    shape_files,
    write_files,
    write_flags,
    write_tar_gz,
)
from tests.openshape_files import (
    Layout,
    make_openshape_folder,
    make_shape,
    npy_bytes,
    shape_id,
)

FOLDERS = ("objaverse", "shapenet", "abo", "three_d_future")
SMALL = Layout({"Objaverse": 12, "ShapeNet": 7, "ABO": 4, "3D-FUTURE": 10}, 20, 8)


@pytest.fixture
def read_files(monkeypatch):
    """The names of the files that were read, as they are."""
    names = []

    def read(data, name, *others):
        names.append(name)
        return original(data, name, *others)

    original = convert_module.read_shape
    monkeypatch.setattr(convert_module, "read_shape", read)
    return names


def test_archives_and_folders_with_every_irregularity(tmp_path, capsys):
    source = make_openshape_folder(tmp_path / "source", SMALL)
    assert convert(source, tmp_path / "out") == 0
    datasets = zip(SMALL.counts, FOLDERS, strict=True)
    for dataset, folder in datasets:
        directory, count = tmp_path / "out" / folder, SMALL.counts[dataset]
        found = {record.id: record for record in records(directory)}
        assert sorted(found) == sorted(shape_id(dataset, index) for index in range(count))
        for index in range(count):
            _compare(found[shape_id(dataset, index)], dataset, index)
        card = read_card(directory)
        assert (card.name, card.embedding_size, card.num_points) == (folder, 8, 20)
        assert card.clip_id == "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k"
        assert (card.num_views, card.splits, card.up_axis) == (12, {"train": count}, "y")
        assert report(directory)["counts"] == {
            "shapes": count,
            "converted": count,
            "failed": 0,
            "broken_archives": 0,
        }
        assert not (directory / ".unfinished").exists()
        subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=directory, check=True)
    assert "Objaverse: 12 shapes, 12 converted, 0 failed" in capsys.readouterr().err


def _compare(record, dataset: str, index: int) -> None:
    shape = make_shape(dataset, index, 20, 8, irregular=True)
    assert (record.dataset, record.group) == (dataset, str(shape["group"]))
    flag = "" if dataset != "Objaverse" else "YN"[index % 3 == 0]
    assert record.gpt4_flag == flag
    np.testing.assert_allclose(record.points, shape["xyz"], atol=2e-5)
    np.testing.assert_array_equal(record.colors, np.rint(255 * shape["rgb"]))
    np.testing.assert_array_equal(record.view_embeddings, shape["image_feat"].astype(np.float16))
    assert [text.text for text in record.texts] == [
        *shape["text"],
        *(shape.get(key) or "" for key in ("blip_caption", "msft_caption")),
        *shape.get("retrieval_text", []),
    ]
    if len(shape["text"]):
        first = shape["text_feat"][0]["prompt_avg"].reshape(-1).astype(np.float16)
        np.testing.assert_array_equal(record.texts[0].prompt_avg, first)
    if dataset == "Objaverse":
        thumbnail = shape["thumbnail_feat"].reshape(1, -1).astype(np.float16)
        np.testing.assert_array_equal(record.thumbnail_embedding, thumbnail)


def test_archive_folder_and_processes_give_the_same_bytes(tmp_path):
    files = shape_files("ABO", 8)
    write_files(tmp_path / "loose/ABO", files)
    write_tar_gz(tmp_path / "packed/ABO.tar.gz", files)
    write_tar_gz(tmp_path / "deep/ABO/x.tar.gz", files)
    others = shape_files("ShapeNet", 4)
    for name in ("loose", "packed", "deep"):
        write_files(tmp_path / name / "ShapeNet", others)
    made = []
    for name, workers in (("loose", 1), ("packed", 1), ("deep", 1), ("loose", 2)):
        output = tmp_path / f"out-{name}-{workers}"
        assert convert(tmp_path / name, output, workers=workers) == 0
        made.append({folder: content(output / folder) for folder in ("abo", "shapenet")})
    assert len([name for name in made[0]["abo"] if "array_record" in name]) == 3
    assert made[0] == made[1] == made[2] == made[3]
    assert ids(tmp_path / "out-loose-1/abo") == expected_ids("ABO", *range(8))


def test_a_second_run_does_nothing(tmp_path, capsys, read_files):
    source = make_openshape_folder(tmp_path / "source", SMALL)
    convert(source, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*-of-*")}
    read_files.clear()
    capsys.readouterr()
    assert convert(source, tmp_path / "out") == 0
    assert not read_files
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert capsys.readouterr().out.count("nothing to do") == 4


@pytest.mark.parametrize("failing", [1, 2, 4])
def test_an_interrupted_run_continues_with_the_first_unfinished_shard(
    tmp_path, monkeypatch, capsys, read_files, failing
):
    """Shards are written in this order: ShapeNet 0-2 and 3-4, ABO 0-2, 3-5 and 6-7."""
    write_tar_gz(tmp_path / "source/ABO.tar.gz", shape_files("ABO", 8))
    write_files(tmp_path / "source/ShapeNet", shape_files("ShapeNet", 5))
    _fill_disk_at(failing, monkeypatch)
    with pytest.raises(SystemExit) as exited:
        convert(tmp_path / "source", tmp_path / "out")
    assert exited.value.code == 2
    assert "the disk is full" in capsys.readouterr().err
    first_run = read_files.copy()
    read_files.clear()
    assert convert(tmp_path / "source", tmp_path / "out") == 0
    whole = [f"ShapeNet/p/{i:03d}.npy" for i in range(5)]
    whole += [f"ABO.tar.gz:p/{i:03d}.npy" for i in range(8)]
    assert first_run + read_files == whole  # everything once
    write_tar_gz(tmp_path / "other/ABO.tar.gz", shape_files("ABO", 8))
    convert(tmp_path / "other", tmp_path / "out2")
    assert content(tmp_path / "out/abo") == content(tmp_path / "out2/abo")


def test_a_source_that_changed_after_an_interruption_is_converted_anew(tmp_path, monkeypatch):
    source, out = tmp_path / "source", tmp_path / "out"
    write_tar_gz(source / "ABO.tar.gz", shape_files("ABO", 8))
    write_files(source / "ShapeNet", shape_files("ShapeNet", 3))
    _fill_disk_at(4, monkeypatch)
    with pytest.raises(SystemExit):
        convert(source, out)
    write_tar_gz(source / "ABO.tar.gz", shape_files("ABO", 8, start=20))
    write_files(source / "ShapeNet", [("p/001.npy", shape_files("ShapeNet", 1, start=30)[0][1])])
    assert convert(source, out) == 0
    assert ids(out / "abo") == expected_ids("ABO", *range(20, 28))
    assert ids(out / "shapenet") == expected_ids("ShapeNet", 0, 30, 2)


def _fill_disk_at(number: int, monkeypatch) -> None:
    """The shard of that number, counted from 1, can't be written."""
    written = []

    def write_shard(*args):
        written.append(1)
        if len(written) == number:
            raise WriteError("the disk is full")
        return original(*args)

    original = convert_module.write_shard
    monkeypatch.setattr(convert_module, "write_shard", write_shard)


def test_only_what_changed_is_converted_again(tmp_path, read_files):
    source, out = tmp_path / "source", tmp_path / "out"
    write_tar_gz(source / "ABO/x.tar.gz", shape_files("ABO", 4))
    write_files(source / "ABO", shape_files("ABO", 9, start=100))
    convert(source, out)
    kept = (out / "abo/abo-train.array_record-00000-of-00005").stat().st_ino
    files = shape_files("ABO", 9, start=100)
    write_files(source / "ABO", [(files[4][0], shape_files("ABO", 1, start=50)[0][1])])
    read_files.clear()
    assert convert(source, out) == 0
    assert read_files == [f"ABO/p/{index}.npy" for index in (103, 104, 105)]
    assert ids(out / "abo") == expected_ids(
        "ABO", 0, 1, 2, 3, 100, 101, 102, 103, 50, *range(105, 109)
    )
    assert (out / "abo/abo-train.array_record-00000-of-00005").stat().st_ino == kept


def test_a_shard_that_was_damaged_or_lost_is_made_again(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    write_files(source / "ABO", shape_files("ABO", 4))
    convert(source, out)
    whole = content(out / "abo")
    (out / "abo/abo-train.array_record-00001-of-00002").write_bytes(b"cut")
    assert convert(source, out) == 0
    assert content(out / "abo") == whole
    (out / "abo/card.json").unlink()
    assert convert(source, out) == 0
    assert content(out / "abo") == whole


def test_changed_flags_and_options_convert_again(tmp_path, read_files):
    source, out = tmp_path / "source", tmp_path / "out"
    write_files(source / "Objaverse", shape_files("Objaverse", 2))
    write_flags(source, {shape_id("Objaverse", 0): "Y"})
    convert(source, out)
    assert [record.gpt4_flag for record in records(out / "objaverse")] == ["Y", ""]
    write_flags(source, {shape_id("Objaverse", 1): "N"})
    convert(source, out)
    assert [record.gpt4_flag for record in records(out / "objaverse")] == ["", "N"]
    read_files.clear()
    convert(source, out, "--clip-id=another")
    assert read_card(out / "objaverse").clip_id == "another"
    assert not read_files  # only the card says it


def test_the_first_shapes_for_a_trial(tmp_path, read_files):
    source, out = tmp_path / "source", tmp_path / "out"
    write_tar_gz(source / "ABO/a.tar.gz", shape_files("ABO", 4))
    write_tar_gz(source / "ABO/b.tar.gz", shape_files("ABO", 4, start=10))
    write_files(source / "ABO/c", shape_files("ABO", 8, start=20))
    for limit, expected in (
        (2, [0, 1]),
        (4, [0, 1, 2, 3]),
        (7, [0, 1, 2, 3, 10, 11, 12]),
        (9, [0, 1, 2, 3, 10, 11, 12, 13, 20]),
        (99, [0, 1, 2, 3, 10, 11, 12, 13, *range(20, 28)]),
    ):
        assert convert(source, out, f"--limit={limit}") == 0
        assert ids(out / "abo") == expected_ids("ABO", *expected)
    read_files.clear()
    assert convert(source, out) == 0
    assert not read_files


def test_what_was_unpacked_beside_its_archive_is_left_out(tmp_path, capsys):
    source = tmp_path / "source"
    write_flags(source, {})
    write_tar_gz(source / "Objaverse/000-000.tar.gz", shape_files("Objaverse", 4))
    write_files(source / "Objaverse/000-000", shape_files("Objaverse", 2))
    write_files(source / "Objaverse/000-001", shape_files("Objaverse", 2, start=4))
    assert convert(source, tmp_path / "out") == 0
    assert ids(tmp_path / "out/objaverse") == expected_ids("Objaverse", *range(6))
    assert "note: 2 unpacked files of Objaverse are left out" in capsys.readouterr().err


def test_chosen_data_sets_only(tmp_path):
    source = make_openshape_folder(tmp_path / "source", SMALL)
    (source / "meta_data/gpt4_filtering.json").unlink()  # Objaverse needs it, the others don't
    assert convert(source, tmp_path / "out", "--datasets=ABO,ShapeNet") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["abo", "shapenet"]


@pytest.fixture
def stuck(tmp_path):
    """A source whose fifth file keeps its reader waiting; a real one can take its place.

    (`--embedding-size` keeps the command itself from reading it.)
    """
    files = shape_files("ABO", 8)
    write_files(tmp_path / "source/ABO", files)
    fifth = tmp_path / "source/ABO" / files[4][0]
    fifth.unlink()
    os.mkfifo(fifth)
    return tmp_path / "source", lambda: (fifth.unlink(), fifth.write_bytes(files[4][1]))


def _two_shards_done(out) -> bool:
    return len(list(out.glob("abo/.unfinished/*.00000.json"))) == 2


def _alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def _wait_for(condition, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_killed_run_leaves_no_worker_and_continues(tmp_path, stuck, read_files):
    (source, mend), out = stuck, tmp_path / "out"
    flags = ["--workers=2", "--embedding-size=8", "--shard-size=3"]
    command = [sys.executable, "-m", "data_prep.openshape", f"--source={source}", *flags]
    process = subprocess.Popen([*command, f"--output={out}"], stderr=subprocess.DEVNULL)
    _wait_for(lambda: _two_shards_done(out))
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _wait_for(lambda: not any(map(_alive, workers)))
    assert not (out / "abo/card.json").exists()
    mend()
    assert convert(source, out) == 0
    assert read_files == [f"ABO/p/{index:03d}.npy" for index in (3, 4, 5)]
    assert ids(out / "abo") == expected_ids("ABO", *range(8))


def test_a_killed_worker_is_named(tmp_path, stuck, capsys):
    (source, mend), out = stuck, tmp_path / "out"

    def kill_workers():
        _wait_for(lambda: _two_shards_done(out))
        for worker in psutil.Process().children(recursive=True):
            if _alive(worker) and "spawn_main" in " ".join(worker.cmdline()):
                worker.kill()

    killer = threading.Thread(target=kill_workers)
    killer.start()
    with pytest.raises(SystemExit) as exited:
        convert(source, out, "--embedding-size=8", workers=2)
    killer.join()
    assert exited.value.code == 2
    assert "a worker process died, most likely for lack of memory" in capsys.readouterr().err
    mend()
    assert convert(source, out) == 0
    assert ids(out / "abo") == expected_ids("ABO", *range(8))


def test_conversion_says_what_each_shard_is_made_of(tmp_path):
    write_files(tmp_path / "source/ABO", shape_files("ABO", 4))
    convert(tmp_path / "source", tmp_path / "out")
    made = json.loads((tmp_path / "out/abo/conversion.json").read_text())
    spans = [(shard["first"], shard["last"]) for unit in made["units"] for shard in unit["files"]]
    assert [unit["name"] for unit in made["units"]] == ["files-0000000", "files-0000003"]
    assert spans == [(0, 3), (0, 1)]


def test_the_size_of_the_embeddings_is_what_most_of_the_first_shapes_have(tmp_path, capsys):
    files = shape_files("ABO", 6)
    files[0] = (files[0][0], npy_bytes(make_shape("ABO", 0, 20, 7)))
    files[1] = (files[1][0], b"bad")
    write_tar_gz(tmp_path / "source/ABO.tar.gz", files)
    assert convert(tmp_path / "source", tmp_path / "out", "--max-failures=2") == 0
    assert read_card(tmp_path / "out/abo").embedding_size == 8
    assert ids(tmp_path / "out/abo") == expected_ids("ABO", 2, 3, 4, 5)
    message = capsys.readouterr().err
    assert "note: the embeddings have 8 entries, while those of laion/CLIP" in message
    assert "p/000.npy, field 'image_feat': has shape (12, 7), but embeddings have 8" in message
    flags = ("--embedding-size=7", "--clip-id=seven", "--max-failures=5")
    assert convert(tmp_path / "source", tmp_path / "out", *flags) == 0
    assert ids(tmp_path / "out/abo") == expected_ids("ABO", 0)
    assert "note: the embeddings" not in capsys.readouterr().err
