"""The original's splits become indices over the shards."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest

from data_prep.openshape.folders import FOLDERS
from data_prep.splits import main
from mixcon3d_jax.data.neighbors import neighbors_file
from mixcon3d_jax.data.schema import DatasetCard
from mixcon3d_jax.data.splits import index_file, open_training_data
from mixcon3d_jax.data.writer import write_dataset
from tests import generated

COUNTS = {"Objaverse": 3, "ABO": 2, "3D-FUTURE": 2}


def entry(dataset: str, shape_id: str) -> dict:
    return {"dataset": dataset, "id": shape_id, "group": "g", "data_path": f"/mnt/data/{shape_id}"}


ALL = [entry(name, f"{name}-{i}") for name, count in COUNTS.items() for i in reversed(range(count))]


@pytest.fixture
def folders(tmp_path):
    """The converted data sets, and the lists of the splits."""
    source, root = tmp_path / "source", tmp_path / "root"
    for name, count in COUNTS.items():
        records = [
            dataclasses.replace(generated.make_record(i, "train", num_points=9), id=f"{name}-{i}")
            for i in range(count)
        ]
        card = DatasetCard(FOLDERS[name], generated.CLIP_ID, generated.EMBEDDING_SIZE, 9, 12)
        write_dataset(root / FOLDERS[name], card, {"train": records})
    (source / "meta_data" / "split" / "ablation").mkdir(parents=True)
    write_split(source, "train_all.json", ALL)
    write_split(source, "train_no_lvis.json", ALL[::2])
    write_split(source, "ablation/train_shapenet_only.json", ALL[-1:])
    return source, root


def write_split(source, name, entries):
    (source / "meta_data" / "split" / name).write_text(json.dumps(entries))


def run(folders, *flags) -> int:
    source, root = folders
    return main([f"--source={source}", f"--root={root}", *flags])


def ids(root, split) -> list[str]:
    opened = open_training_data(root, split, generated.CLIP_ID, generated.EMBEDDING_SIZE)
    return [example["id"].decode() for example in opened.source]


def test_a_split_has_its_shapes_in_the_order_of_its_list(folders, capsys):
    assert run(folders) == 0
    assert ids(folders[1], "train_all") == [shape["id"] for shape in ALL]
    assert ids(folders[1], "train_no_lvis") == [shape["id"] for shape in ALL[::2]]
    assert ids(folders[1], "train_shapenet_only") == [ALL[-1]["id"]]
    assert "train_all: 7 of 7 shapes found" in capsys.readouterr().out


def test_shapes_that_the_shards_lack_are_counted_and_listed(folders, capsys):
    extra = [entry("Objaverse", "gone"), entry("ShapeNet", "never converted")]
    write_split(folders[0], "train_all.json", [*extra, *ALL])
    assert run(folders, "--only=train_all") == 1
    printed = capsys.readouterr()
    assert "train_all: 7 of 9 shapes found" in printed.out
    assert "2 shapes are not in the shards (Objaverse: 1, ShapeNet: 1)" in printed.err
    listed = index_file(folders[1], "train_all").with_suffix(".missing.json")
    assert json.loads(listed.read_text()) == [
        ["Objaverse", "gone"],
        ["ShapeNet", "never converted"],
    ]
    assert ids(folders[1], "train_all") == [shape["id"] for shape in ALL]
    assert run(folders, "--only=train_all", "--max-missing=2") == 0
    write_split(folders[0], "train_all.json", ALL)
    assert run(folders, "--only=train_all") == 0
    assert not listed.exists()


def test_shapes_with_one_id_are_told_apart_by_their_group(folders):
    source, root = folders
    card = DatasetCard("abo", generated.CLIP_ID, generated.EMBEDDING_SIZE, 9, 12)
    records = [
        dataclasses.replace(generated.make_record(i, "train", num_points=9), id=record_id)
        for i, record_id in enumerate(["x", "b/x"])
    ]
    write_dataset(root / "abo", card, {"train": records})
    groups = [entry("ABO", "x") | {"group": group} for group in ("b", "a")]
    write_split(source, "train_all.json", groups)
    assert run(folders, "--only=train_all") == 0
    assert ids(root, "train_all") == ["b/x", "x"]


def test_a_split_does_not_depend_on_data_sets_that_it_has_nothing_of(folders):
    write_split(folders[0], "ablation/train_shapenet_only.json", [entry("ABO", "ABO-1")])
    assert run(folders) == 0
    for name in ("objaverse", "three_d_future"):
        shutil.rmtree(folders[1] / name)
    assert ids(folders[1], "train_shapenet_only") == ["ABO-1"]


def test_the_same_id_in_another_data_set_is_another_shape(folders):
    write_split(folders[0], "train_all.json", [entry("ABO", "Objaverse-0"), *ALL])
    assert run(folders, "--only=train_all") == 1
    assert ids(folders[1], "train_all") == [shape["id"] for shape in ALL]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ([entry("Objaverse2", "a")], r"entry 0 \(a\) is of data set 'Objaverse2', .* none of Obj"),
        ([ALL[0], {"dataset": "ABO"}], "entry 1 has no 'id'"),
        ([ALL[0], 7], "entry 1 has no 'id'"),
        ({"a": 1}, "expected a JSON list, found a dict"),
        ([entry("Objaverse", "gone")], "none of its 1 shapes is in the shards"),
    ],
)
def test_a_bad_list_is_refused(folders, capsys, content, error):
    write_split(folders[0], "train_all.json", content)
    with pytest.raises(SystemExit) as info:
        run(folders, "--only=train_all")
    assert info.value.code == 2
    assert re.search(error, capsys.readouterr().err)
    assert not index_file(folders[1], "train_all").exists()


def test_a_missing_or_damaged_list_is_named(folders, capsys):
    lists = folders[0] / "meta_data" / "split"
    (lists / "train_no_lvis.json").write_text("[{")
    (lists / "train_all.json").unlink()
    for split, error in (
        ("train_all", "can't be read (No such file or directory); --source is"),
        ("train_no_lvis", "is damaged"),
    ):
        with pytest.raises(SystemExit):
            run(folders, f"--only={split}")
        assert error in capsys.readouterr().err


def test_without_converted_data(folders, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run((folders[0], tmp_path / "empty"))
    assert (
        "has none of objaverse, shapenet, abo, three_d_future; convert" in capsys.readouterr().err
    )


def write_neighbors(source, table):
    path = source / "meta_data" / "point_feat_knn.npy"
    np.save(path, np.array(table, object), allow_pickle=True)


def test_neighbor_tables_speak_of_positions_in_the_split(folders):
    source, root = folders
    names = ["elsewhere", *(shape["id"] for shape in ALL)]
    # Nearest to every shape: one that no split has, then all from the last on, itself among them.
    index = {name: [0, *reversed(range(1, 8))] for name in names[1:]}
    write_neighbors(source, {"name": names, "index": index})
    assert run(folders, "--neighbors", "--only=train_all,train_no_lvis") == 0
    table = np.load(neighbors_file(index_file(root, "train_all")))
    assert table.shape == (7, 31)
    assert table[0].tolist() == [-1, 6, 5, 4, 3, 2, 1] + [-1] * 24
    table = np.load(neighbors_file(index_file(root, "train_no_lvis")))
    assert table[1].tolist() == [-1, 3, -1, 2, -1, -1, 0] + [-1] * 24


def test_making_a_split_again_removes_its_old_neighbors(folders):
    source, root = folders
    names = [shape["id"] for shape in ALL]
    write_neighbors(source, {"name": names, "index": {name: [0] for name in names}})
    assert run(folders, "--neighbors", "--only=train_all") == 0
    assert len(list((root / "splits").glob("*.neighbors-*.npy"))) == 1
    write_split(source, "train_all.json", ALL[:3])
    assert run(folders, "--only=train_all") == 0
    assert not list((root / "splits").glob("*.neighbors-*.npy"))


@pytest.mark.parametrize(
    ("table", "error"),
    [
        (None, "is missing"),
        ({"names": [1]}, "expected a dict with 'name' and 'index'"),
        ({"name": ["a"], "index": [0]}, "expected a dict with 'name' and 'index'"),
        (
            {"name": ["a"], "index": {ALL[0]["id"]: [7]}},
            "neighbours of 'Objaverse-2' can't be read",
        ),
    ],
)
def test_a_bad_neighbor_table_is_refused(folders, capsys, table, error):
    if table is not None:
        write_neighbors(folders[0], table)
    with pytest.raises(SystemExit):
        run(folders, "--neighbors")
    assert error in capsys.readouterr().err
