"""Of shapes with the same id the first is kept, and the data set is made of the rest."""

import json

import pytest

from mixcon3d_jax.data.schema import decode_record
from mixcon3d_jax.data.source import open_split, read_card
from tests.data_prep.openshape.folders import (
    convert,
    expected_ids,
    ids,
    report,
    shape_files,
    write_files,
    write_tar_gz,
)
from tests.openshape_files import make_shape, npy_bytes


@pytest.fixture
def source(tmp_path):
    """An archive of five shapes, the second of which is among the unpacked files as well."""
    files = shape_files("ABO", 5)
    write_tar_gz(tmp_path / "source/ABO/x.tar.gz", files)
    name = expected_ids("ABO", 1)[0]
    write_files(tmp_path / "source/ABO", [(f"{name}.npy", files[1][1])])
    write_files(tmp_path / "source/ABO", shape_files("ABO", 1, start=9))
    return tmp_path / "source"


def test_the_first_is_kept_and_the_others_name_both_places(source, tmp_path, capsys):
    out, name = tmp_path / "out", expected_ids("ABO", 1)[0]
    assert convert(source, out) == 1
    assert ids(out / "abo") == expected_ids("ABO", *range(5), 9)
    (failure,) = report(out / "abo")["failures"]
    assert failure["file"] == f"ABO/{name}.npy"
    assert (
        f"ABO/{name}.npy: holds shape '{name}', which is also in ABO/x.tar.gz; the first"
        in (failure["reason"])
    )
    assert failure["reason"] in capsys.readouterr().err
    counts = report(out / "abo")["counts"]
    assert counts == {"shapes": 7, "converted": 6, "failed": 1, "broken_archives": 0}
    made = json.loads((out / "abo/conversion.json").read_text())["units"]
    assert [s["point_counts"] for s in made[1]["files"]] == [{"20": 1}]
    assert convert(source, out, "--max-failures=1") == 0
    assert "nothing to do" in capsys.readouterr().out


def test_the_other_comes_in_when_the_first_is_gone(source, tmp_path):
    out = tmp_path / "out"
    convert(source, out)
    files = shape_files("ABO", 5)
    write_tar_gz(source / "ABO/x.tar.gz", [files[0], *files[2:]])
    assert convert(source, out) == 0
    assert ids(out / "abo") == expected_ids("ABO", 0, 2, 3, 4, 1, 9)


def test_twice_in_one_shard_and_a_shard_of_nothing_else(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    files = shape_files("ABO", 3)
    again = [(f"q/{index}.npy", files[0][1]) for index in range(4)]
    write_tar_gz(source / "ABO.tar.gz", [*files[:2], *again, files[2]])
    assert convert(source, out) == 1
    assert ids(out / "abo") == expected_ids("ABO", 0, 1, 2)
    assert read_card(out / "abo").splits == {"train": 3}
    assert report(out / "abo")["counts"]["failed"] == 4
    assert not (out / "abo/.unfinished").exists()
    assert convert(source, out, "--max-failures=4") == 0


def test_the_same_id_in_another_group_is_another_shape(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    shapes = [make_shape("ABO", 0, 20, 8) | {"group": group} for group in ("a", "b", "a")]
    files = [(f"{index}.npy", npy_bytes(shape)) for index, shape in enumerate(shapes)]
    write_tar_gz(source / "ABO.tar.gz", files)
    assert convert(source, out, "--max-failures=1") == 0
    (name,) = expected_ids("ABO", 0)
    assert ids(out / "abo") == [name, f"b/{name}"]
    first, second = (decode_record(example) for example in open_split(out / "abo", "train"))
    assert (first.id, first.group, second.id, second.group) == (name, "a", f"b/{name}", "b")
    assert report(out / "abo")["counts"]["failed"] == 1
    assert convert(source, out, "--max-failures=1") == 0
    assert ids(out / "abo") == [name, f"b/{name}"]
