"""The whole command on a small folder in the original's layout."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from data_prep.benchmarks import lvis_search
from data_prep.benchmarks.__main__ import main
from data_prep.benchmarks.clouds import CloudError, Item, read_cloud
from data_prep.class_embedding_file import ClassEmbeddingsInfo, write_class_embeddings
from data_prep.openshape.clip import CLIP_ID
from data_prep.openshape.shape import read_shape
from mixcon3d_jax.data.schema import decode_record
from mixcon3d_jax.data.source import class_embeddings, open_split, read_card, record_labels
from mixcon3d_jax.evaluation.benchmark import open_benchmark
from tests.openshape_files import (
    SCANOBJECTNN_CLASSES,
    Layout,
    class_meaning,
    make_openshape_folder,
    npy_bytes,
    shape_group,
    shape_id,
    write_archive,
)

ROOT = Path(__file__).resolve().parents[2]
LVIS = "objaverse_lvis"
LAYOUT = Layout(counts={"Objaverse": 24}, num_points=40, embedding_size=8)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return make_openshape_folder(tmp_path_factory.mktemp("openshape"), LAYOUT)


@pytest.fixture
def source(original, tmp_path):
    """A copy to spoil."""
    shutil.copytree(original, tmp_path / "source")
    return tmp_path / "source"


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    """Starting processes takes longer than these small files; one test starts them all the same."""

    def in_turn(function, tasks, workers, what):
        yield from ((index, function(*task)) for index, task in enumerate(tasks))

    monkeypatch.setattr(lvis_search, "in_processes", in_turn)


def run(source, output, *more):
    return main([f"--source={source}", f"--output={output}", *more])


def refused(source, output, capsys, *more) -> str:
    with pytest.raises(SystemExit) as caught:
        run(source, output, *more)
    assert caught.value.code == 2
    return capsys.readouterr().err


def records(folder):
    source = open_split(folder, "test")
    return [decode_record(source[index]) for index in range(len(source))]


def files_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def lvis_entries(source):
    return json.loads((source / "meta_data" / "split" / "lvis.json").read_text())


def write_npy(path, value):
    path.write_bytes(npy_bytes(value))


def read_object(path):
    value = np.load(path, allow_pickle=True)
    return value.item() if value.shape == () else value


def test_modelnet40(original, tmp_path, capsys):
    assert run(original, tmp_path, "--only=modelnet40") == 0
    said = capsys.readouterr().out
    assert "modelnet40: 12 of 12 shapes (the original's has 2,468" in said
    folder, meta = tmp_path / "modelnet40", original / "meta_data" / "modelnet40"
    card = read_card(folder)
    assert (card.name, card.clip_id, card.embedding_size) == ("modelnet40", CLIP_ID, 8)
    assert (card.num_points, card.num_views, card.splits) == (40, 0, {"test": 12})
    assert card.classes == ("toilet", "bed", "chair", "sofa")  # the order of the embeddings
    expected = np.stack([class_meaning(name, 8) for name in card.classes])
    np.testing.assert_array_equal(class_embeddings(folder), expected)
    split = json.loads((meta / "test_split.json").read_text())
    clouds = read_object(meta / "test_pc.npy")
    found = records(folder)
    assert [(r.id, r.class_name) for r in found] == [(e["name"], e["category"]) for e in split]
    assert record_labels(folder, "test")[:4].tolist() == [1, 2, 3, 0]
    for record, cloud in zip(found, clouds, strict=True):
        np.testing.assert_allclose(record.points, cloud["xyz"], atol=2e-5)
        np.testing.assert_array_equal(record.colors, cloud["rgb"])
        assert record.view_embeddings.shape == record.thumbnail_embedding.shape == (0, 8)
        assert (record.dataset, record.texts) == ("ModelNet40", ())


@pytest.mark.parametrize("colored", [False, True])
def test_scanobjectnn(source, tmp_path, colored):
    path = source / "meta_data" / "scanobjectnn" / "xyz_label.npy"
    content = read_object(path)
    colors = np.random.default_rng(0).uniform(size=content["xyz"].shape)
    if colored:
        write_npy(path, content | {"rgb": colors})
    assert run(source, tmp_path, "--only=scanobjectnn") == 0
    card, found = read_card(tmp_path / "scanobjectnn"), records(tmp_path / "scanobjectnn")
    assert card.classes == SCANOBJECTNN_CLASSES
    rows = class_embeddings(tmp_path / "scanobjectnn")
    np.testing.assert_array_equal(rows[4], class_meaning("chair", 8))
    assert [record.id for record in found] == [str(index) for index in range(12)]
    assert record_labels(tmp_path / "scanobjectnn", "test").tolist() == content["label"].tolist()
    for index, record in enumerate(found):
        np.testing.assert_allclose(record.points, content["xyz"][index], atol=2e-5)
        expected = np.rint(255 * colors[index]) if colored else 102
        np.testing.assert_array_equal(record.colors, np.broadcast_to(expected, (40, 3)))
        assert record.dataset == "ScanObjectNN"


def original_shape(source, index):
    """The record that conversion makes of a shape."""
    name = f"{shape_group('Objaverse', index)}/{shape_id('Objaverse', index)}.npy"
    path = source / "Objaverse" / name
    if not path.exists():
        unpacked = source / "unpacked"
        shutil.unpack_archive(source / "Objaverse" / "000-000.tar.gz", unpacked)
        path = next(unpacked.rglob(path.name))
    flags = json.loads((source / "meta_data" / "gpt4_filtering.json").read_text())
    return read_shape(path.read_bytes(), path.name, "Objaverse", 8, lambda key: flags[key]["flag"])


def test_objaverse_lvis_from_an_archive_and_from_files(source, tmp_path):
    entries = lvis_entries(source)
    entries.reverse()
    (source / "meta_data" / "split" / "lvis.json").write_text(json.dumps(entries))
    assert run(source, tmp_path, f"--only={LVIS}") == 0
    card, found = read_card(tmp_path / LVIS), records(tmp_path / LVIS)
    assert card.classes == ("bed", "chair", "sofa", "toilet")
    assert (card.num_views, card.splits) == (12, {"test": 16})
    assert [(record.id, record.class_name) for record in found] == [
        (entry["uid"], entry["category"]) for entry in entries
    ]
    by_id = {record.id: record for record in found}
    for index in (0, 1, 4, 7, 10):
        expected, record = original_shape(source, index), by_id[shape_id("Objaverse", index)]
        np.testing.assert_allclose(record.points, expected.points, atol=2e-5)
        for field in ("colors", "view_embeddings", "thumbnail_embedding"):
            np.testing.assert_array_equal(getattr(record, field), getattr(expected, field))
        assert (record.group, record.gpt4_flag) == (expected.group, expected.gpt4_flag)
        assert [text.text for text in record.texts] == [text.text for text in expected.texts]
        for text, other in zip(record.texts, expected.texts, strict=True):
            np.testing.assert_array_equal(text.prompt_avg, other.prompt_avg)
    assert not (tmp_path / LVIS / "work").exists()


def test_the_command_in_real_processes_gives_the_same_and_then_does_nothing(original, tmp_path):
    assert run(original, tmp_path / "here") == 0
    arguments = [f"--source={original}", f"--output={tmp_path / 'there'}", "--workers=2"]
    command = [sys.executable, "-m", "data_prep.benchmarks", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert files_of(tmp_path / "there") == files_of(tmp_path / "here")

    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "there" / LVIS).iterdir()}
    done = subprocess.run(
        [*command, f"--only={LVIS}"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.stdout.startswith("nothing to do")
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_a_damaged_data_set_is_made_again(original, tmp_path):
    run(original, tmp_path, f"--only={LVIS}")
    before = files_of(tmp_path / LVIS)
    (tmp_path / LVIS / "SHA256SUMS").write_text("")
    run(original, tmp_path, f"--only={LVIS}")
    assert files_of(tmp_path / LVIS) == before


def test_evaluation_opens_them(original, tmp_path):
    run(original, tmp_path)
    for name, has_views in ((LVIS, True), ("modelnet40", False), ("scanobjectnn", False)):
        benchmark = open_benchmark(name, tmp_path / name, "test", "all", CLIP_ID, 8)
        names = [benchmark.classes[label] for label in benchmark.labels]
        assert names == [record.class_name for record in records(tmp_path / name)]
        assert benchmark.has_views == has_views
        assert benchmark.class_embeddings.shape == (len(benchmark.classes), 8)


def lacking(source, index):
    """Removes a shape that lies in a file of its own."""
    path = source / "Objaverse" / shape_group("Objaverse", index)
    path = path / f"{shape_id('Objaverse', index)}.npy"
    content, state = path.read_bytes(), path.stat()
    path.unlink()
    return path, content, state


def test_a_missing_shape_is_reported_and_the_rest_is_kept(original, source, tmp_path, capsys):
    run(original, tmp_path / "whole", f"--only={LVIS}")
    output = tmp_path / "output"
    path, content, state = lacking(source, 1)
    missing = shape_id("Objaverse", 1)
    assert run(source, output, f"--only={LVIS}") == 1
    said = capsys.readouterr().err
    assert f"failed: {LVIS}: shape {missing} (000-001): is in none of the 2 archives" in said
    assert "error: 1 shapes failed, 0 may (--max-failures)" in said
    report = json.loads((output / LVIS / "report.json").read_text())
    assert report["counts"] == {"expected": 16, "written": 15, "failed": 1}
    assert [failure["id"] for failure in report["failures"]] == [missing]
    kept = [record.id for record in records(output / LVIS)]
    assert kept == [e["uid"] for e in lvis_entries(source) if e["uid"] != missing]
    assert run(source, output, f"--only={LVIS}", "--max-failures=1") == 0

    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert run(source, output, f"--only={LVIS}") == 0
    assert files_of(output / LVIS) == files_of(tmp_path / "whole" / LVIS)


@pytest.fixture
def opened(monkeypatch):
    """The files whose content was looked at."""
    names = []
    monkeypatch.setattr(
        "data_prep.benchmarks.lvis_units.read_shape",
        lambda data, name, *more: names.append(name) or read_shape(data, name, *more),
    )
    return names


def test_what_was_found_is_not_searched_again(source, tmp_path, opened):
    lacking(source, 1)
    run(source, tmp_path, f"--only={LVIS}")
    wanted = {entry["uid"] for entry in lvis_entries(source)}
    assert sorted(Path(name).stem for name in opened) == sorted(wanted - {shape_id("Objaverse", 1)})
    opened.clear()
    assert run(source, tmp_path, f"--only={LVIS}") == 1
    assert opened == []
    for path in (source / "Objaverse" / "000-001").iterdir():
        os.utime(path)
    run(source, tmp_path, f"--only={LVIS}")
    assert len(opened) == 7
    assert all(name.startswith("Objaverse/000-001/") for name in opened)


def test_a_file_that_could_not_be_read_is_tried_again(original, tmp_path, monkeypatch, capsys):
    def fail(data, name, *more):
        if shape_id("Objaverse", 1) in name:
            raise OSError("Input/output error")
        return read_shape(data, name, *more)

    with monkeypatch.context() as patched:
        patched.setattr("data_prep.benchmarks.lvis_units.read_shape", fail)
        assert run(original, tmp_path, f"--only={LVIS}") == 1
    assert "(000-001): Input/output error" in capsys.readouterr().err
    assert run(original, tmp_path, f"--only={LVIS}") == 0


def test_a_bad_shape_is_reported_with_its_file(source, tmp_path, capsys):
    path, _, _ = lacking(source, 1)
    path.write_bytes(b"not a shape")
    assert run(source, tmp_path, f"--only={LVIS}") == 1
    said = capsys.readouterr().err
    assert f"shape {path.stem} (000-001): Objaverse/000-001/{path.name}: can't be read as" in said


def test_a_truncated_archive_keeps_what_comes_before(source, tmp_path, capsys):
    archive = source / "Objaverse" / "000-000.tar.gz"
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    assert run(source, tmp_path, f"--only={LVIS}") == 1
    report = json.loads((tmp_path / LVIS / "report.json").read_text())
    assert 0 < len(report["failures"]) < 8
    for failure in report["failures"]:
        assert "Objaverse/000-000.tar.gz: ends too early at byte" in failure["reason"]
    assert len(records(tmp_path / LVIS)) == 16 - len(report["failures"])


def test_files_that_are_named_otherwise_are_known_by_their_content(source, tmp_path):
    run(source, tmp_path / "named", f"--only={LVIS}")
    archive = source / "Objaverse" / "000-000.tar.gz"
    shutil.unpack_archive(archive, source / "Objaverse")
    archive.unlink()
    files = sorted((source / "Objaverse").rglob("*.npy"))
    for number, path in enumerate(files):
        path.rename(path.with_name(f"{number}.npy"))
    assert run(source, tmp_path / "numbered", f"--only={LVIS}") == 0
    found, expected = records(tmp_path / "numbered" / LVIS), records(tmp_path / "named" / LVIS)
    assert [record.id for record in found] == [record.id for record in expected]


def test_an_archive_that_the_split_does_not_name_is_searched_if_need_be(source, tmp_path):
    (source / "Objaverse" / "000-000.tar.gz").rename(source / "Objaverse" / "other.tar.gz")
    assert run(source, tmp_path, f"--only={LVIS}") == 0


def test_an_archive_without_need_is_not_opened(source, tmp_path, opened):
    shutil.unpack_archive(source / "Objaverse" / "000-000.tar.gz", source / "all")
    every = [*(source / "all").rglob("*.npy"), *(source / "Objaverse").rglob("*.npy")]
    members = {
        group: [(path.name, path.read_bytes()) for path in every if path.parent.name == group]
        for group in ("000-000", "000-001")
    }
    shutil.rmtree(source / "Objaverse")
    for group, content in members.items():
        write_archive(source / "Objaverse" / f"{group}.tar.gz", content)
    write_archive(source / "Objaverse" / "copies.tar.gz", members["000-000"])
    assert run(source, tmp_path, f"--only={LVIS}") == 0
    assert {name.split(":")[0] for name in opened} == {
        "Objaverse/000-000.tar.gz",
        "Objaverse/000-001.tar.gz",
    }


def test_a_shape_that_is_there_twice_is_taken_once(source, tmp_path):
    shutil.unpack_archive(source / "Objaverse" / "000-000.tar.gz", source / "all")
    copies = sorted((source / "all").rglob("*.npy"))
    members = [(f"{n}/{path.name}", path.read_bytes()) for n in (0, 1) for path in copies]
    write_archive(source / "Objaverse" / "000-000.tar.gz", members)
    assert run(source, tmp_path, f"--only={LVIS}") == 0
    assert len(records(tmp_path / LVIS)) == 16


def embeddings_file(folder, labels, clip_id, size):
    rows = np.random.default_rng(1).normal(size=(len(labels), size)).astype(np.float32)
    info = ClassEmbeddingsInfo(tuple(labels), clip_id, "", "")
    write_class_embeddings(folder / "rows.npy", rows, info)
    return dict(zip(labels, rows, strict=True))


def test_class_embeddings_of_another_clip_for_points(original, tmp_path, capsys):
    rows = embeddings_file(tmp_path, ["sofa", "chair", "bed", "toilet"], "other-clip", 6)
    flag = f"--class-embeddings=modelnet40={tmp_path / 'rows.npy'}"
    assert run(original, tmp_path / "out", "--only=modelnet40", flag) == 0
    card = read_card(tmp_path / "out" / "modelnet40")
    assert (card.clip_id, card.embedding_size) == ("other-clip", 6)
    assert card.classes == ("toilet", "bed", "chair", "sofa")
    expected = np.stack([rows[name] for name in card.classes])
    np.testing.assert_array_equal(class_embeddings(tmp_path / "out" / "modelnet40"), expected)
    assert records(tmp_path / "out" / "modelnet40")[0].view_embeddings.shape == (0, 6)

    flag = f"--class-embeddings=scanobjectnn={tmp_path / 'rows.npy'}"
    said = refused(original, tmp_path / "out", capsys, "--only=scanobjectnn", flag)
    assert "rows.npy has no embedding of 11 of 15 classes, the first is 'bag'" in said


def test_class_embeddings_beside_views_are_of_their_clip(original, tmp_path, capsys):
    labels = ["sofa", "chair", "bed", "toilet"]
    flags = [f"--only={LVIS}", f"--class-embeddings={LVIS}={tmp_path / 'rows.npy'}"]
    for clip_id, size in (("other-clip", 8), ("my-clip", 6)):
        embeddings_file(tmp_path, labels, clip_id, size)
        said = refused(original, tmp_path / "out", capsys, *flags, "--clip-id=my-clip")
        assert f"rows.npy is of CLIP '{clip_id}' of size {size}, but the views of these" in said
    rows = embeddings_file(tmp_path, labels, "my-clip", 8)
    assert run(original, tmp_path / "out", *flags, "--clip-id=my-clip") == 0
    assert read_card(tmp_path / "out" / LVIS).clip_id == "my-clip"
    found = class_embeddings(tmp_path / "out" / LVIS)
    np.testing.assert_array_equal(found, np.stack([rows[name] for name in sorted(labels)]))


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--only=modelnet"], "'modelnet' is none of modelnet40"),
        (["--class-embeddings=modelnet40"], "say NAME=FILE.npy"),
        (["--class-embeddings=lvis=a.npy"], "there is no benchmark 'lvis'"),
        (["--class-embeddings=modelnet40=absent.npy"], "absent.npy and absent.npy.json beside it"),
    ],
)
def test_flags_that_cannot_be_used(original, tmp_path, capsys, flags, reason):
    assert reason in refused(original, tmp_path, capsys, *flags)


def spoil_modelnet(source, **changes):
    folder = source / "meta_data" / "modelnet40"
    split = json.loads((folder / "test_split.json").read_text())
    split[3] |= changes
    (folder / "test_split.json").write_text(json.dumps(split))


def test_a_category_that_is_no_class(source, tmp_path, capsys):
    spoil_modelnet(source, category="spaceship")
    said = refused(source, tmp_path, capsys, "--only=modelnet40")
    assert "item 'toilet_0003' is of category 'spaceship', which is not among the 4 classes" in said
    assert not (tmp_path / "modelnet40").exists()


@pytest.mark.parametrize("label", [15, -1, 1.5, np.nan])
def test_a_label_that_is_no_class(source, tmp_path, capsys, label):
    path = source / "meta_data" / "scanobjectnn" / "xyz_label.npy"
    content = read_object(path)
    labels = content["label"].astype(float if isinstance(label, float) else int)
    labels[5] = label
    write_npy(path, content | {"label": labels})
    said = refused(source, tmp_path, capsys, "--only=scanobjectnn")
    assert "xyz_label.npy: item 5 has the label" in said
    assert "labels go from 0 to 14" in said


BAD_CLOUDS = {
    "xyz has NaN": {"xyz": np.full((40, 3), np.nan)},
    "xyz has no points": {"xyz": np.zeros((0, 3))},
    "xyz has shape (40, 2)": {"xyz": np.zeros((40, 2))},
    "xyz is no array of numbers": {"xyz": "no"},
    "rgb has shape (39, 3) instead of (40, 3)": {"rgb": np.zeros((39, 3))},
    "rgb has colours from 0 to 300 instead of 0..255": {
        "rgb": np.diag([300.0, 0, 0]).repeat(14, 0)[:40]
    },
}


@pytest.mark.parametrize("reason", BAD_CLOUDS)
def test_a_bad_cloud_is_reported_and_the_rest_is_kept(source, tmp_path, capsys, reason):
    path = source / "meta_data" / "modelnet40" / "test_pc.npy"
    clouds = read_object(path)
    clouds[2] = clouds[2] | BAD_CLOUDS[reason]
    np.save(path, clouds, allow_pickle=True)
    assert run(source, tmp_path, "--only=modelnet40") == 1
    assert f"failed: modelnet40: item 'sofa_0002': {reason}" in capsys.readouterr().err
    assert len(records(tmp_path / "modelnet40")) == 11


def test_no_good_cloud_at_all(source, tmp_path, capsys):
    path = source / "meta_data" / "modelnet40" / "test_pc.npy"
    np.save(path, np.array([{"xyz": None}] * 12), allow_pickle=True)
    said = refused(source, tmp_path, capsys, "--only=modelnet40")
    assert "modelnet40: no shape can be used, so no data set was written" in said
    assert (tmp_path / "modelnet40" / "report.json").exists()
    assert not (tmp_path / "modelnet40" / "card.json").exists()


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["modelnet40/test_pc.npy", "scanobjectnn/cat_name_pt_feat.npy"])
def test_a_hostile_file_runs_nothing(source, tmp_path, capsys, name):
    write_npy(source / "meta_data" / name, {"bed": Payload(tmp_path / "ran")})
    said = refused(source, tmp_path / "out", capsys)
    assert f"{name}: names pathlib" in said
    assert not (tmp_path / "ran").exists()


def test_a_shape_that_a_split_names_twice_is_an_item_each_time(source, tmp_path):
    again = dict(lvis_entries(source)[0], category="sofa")
    edit_lvis(source, lambda entries: entries.append(again))
    split = source / "meta_data" / "modelnet40" / "test_split.json"
    items = json.loads(split.read_text())
    items[1]["name"] = items[0]["name"]
    split.write_text(json.dumps(items))
    assert run(source, tmp_path, f"--only={LVIS},modelnet40") == 0
    first, *_, last = records(tmp_path / LVIS)
    assert (last.id, last.class_name) == (f"{again['uid']}#2", "sofa")
    np.testing.assert_array_equal(last.points, first.points)
    found = [record.id for record in records(tmp_path / "modelnet40")]
    assert found[:2] == [items[0]["name"], f"{items[0]['name']}#2"]


def edit_lvis(source, change):
    entries = lvis_entries(source)
    change(entries)
    (source / "meta_data" / "split" / "lvis.json").write_text(json.dumps(entries))


SPOILED = {
    "test_pc.npy has 11 clouds for the 12 items": lambda source: np.save(
        source / "meta_data/modelnet40/test_pc.npy", np.array([{}] * 11), allow_pickle=True
    ),
    "test_split.json: entry 3 has no 'name'": lambda source: spoil_modelnet(source, name=""),
    "test_split.json is missing; `python -m data_prep.download --only=meta_data`": (
        lambda source: (source / "meta_data/modelnet40/test_split.json").unlink()
    ),
    "has no embedding of the class 'bag'": lambda source: shutil.copy(
        source / "meta_data/modelnet40/cat_name_pt_feat.npy", source / "meta_data/scanobjectnn"
    ),
    "class 'bed' has no 'open_clip_text_feat'": lambda source: write_npy(
        source / "meta_data/modelnet40/cat_name_pt_feat.npy", {"bed": {}}
    ),
    "xyz_label.npy has arrays of 3, 2 items": lambda source: write_npy(
        source / "meta_data/scanobjectnn/xyz_label.npy",
        {"xyz": np.zeros((3, 4, 3)), "label": np.zeros(2, int)},
    ),
    "xyz_label.npy is no dict with 'xyz' and 'label'": lambda source: write_npy(
        source / "meta_data/scanobjectnn/xyz_label.npy", {"xyz": np.zeros((3, 4, 3))}
    ),
    "is of data set 'ABO'; all are of Objaverse": lambda source: edit_lvis(
        source, lambda entries: entries[1].update(dataset="ABO")
    ),
    "has embeddings of 4 classes, but lvis.json has 5": lambda source: edit_lvis(
        source, lambda entries: entries[0].update(category="spaceship")
    ),
    "lvis.json is no JSON list of shapes": lambda source: edit_lvis(
        source, lambda entries: entries.clear()
    ),
    "lvis.json can't be read as JSON": lambda source: (
        source / "meta_data/split/lvis.json"
    ).write_text("["),
    "has neither archives nor files of shapes": lambda source: shutil.rmtree(source / "Objaverse"),
}


@pytest.mark.parametrize("reason", SPOILED)
def test_files_that_do_not_fit(source, tmp_path, capsys, reason):
    SPOILED[reason](source)
    assert reason in refused(source, tmp_path / "out", capsys)


numbers = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int64, np.uint8]),
    hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4),
)


@given(numbers | st.none() | st.text(), numbers | st.none() | st.just([[0.5, 1, 0]]))
def test_whatever_a_cloud_holds_it_is_whole_or_refused_by_name(xyz, rgb):
    item = Item("item 7", "bed", xyz, rgb)
    try:
        points, colors = read_cloud(item, 1.0)
    except CloudError:
        with pytest.raises(CloudError, match=r"item .item 7.: (xyz|rgb|[0-9]+ colours)"):
            read_cloud(item, 1.0)
        return
    assert points.shape == colors.shape == (len(points), 3)
    assert len(points)
    assert np.isfinite(points).all()
    assert (points.dtype, colors.dtype) == (np.float32, np.uint8)
