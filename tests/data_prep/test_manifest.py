import json
from pathlib import Path

import pytest

from data_prep.hold_out import hold_out
from mixcon3d_jax.assets.manifest import Entry, ManifestError, read_manifest

GOOD = {"path": "a/b.glb", "class": "chair", "text": "a chair"}


def write(folder, content):
    path = folder / "manifest.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_defaults_and_all_keys(tmp_path):
    full = GOOD | {
        "path": "c.ply", "id": "x", "captions": ["one", " "], "split": "test", "licence": "CC0",
    }  # fmt: skip
    assert read_manifest(write(tmp_path, [GOOD, full])) == [
        Entry("a/b.glb", tmp_path / "a/b.glb", "chair", "a chair", (), "train"),
        Entry("x", tmp_path / "c.ply", "chair", "a chair", ("one",), "test"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ({"path": "a.glb"}, "expected a JSON list"),
        ([], "list is empty"),
        ([GOOD, "a.glb"], "entry 1 .* is no object"),
        ([GOOD, {"class": "x", "text": "y"}], "entry 1 .* has no 'path'"),
        ([{"path": "a.glb", "text": "y"}], "entry 0 .* has no 'class'"),
        ([{"path": "a.glb", "class": "y"}], "entry 0 .* has no 'text'"),
        ([GOOD | {"text": 5}], "entry 0 .*'text' must be a text that is not empty, not 5"),
        ([GOOD | {"class": "  "}], "'class' must be a text that is not empty"),
        ([GOOD | {"captions": "one"}], "'captions' must be a list of texts"),
        ([GOOD | {"captions": [1]}], "'captions' must be a list of texts"),
        ([GOOD | {"split": "a/b"}], "split 'a/b' must be letters"),
        ([GOOD | {"split": "_test"}], "split '_test' must be letters"),
        ([GOOD | {"split": "prüfung"}], "split 'prüfung' must be letters"),
        ([GOOD | {"split": "all"}], "the split name 'all' is taken"),
        ([GOOD | {"split": None}], "'split' must be a text"),
        ([GOOD, GOOD], "entries 0 and 1 have the same id 'a/b.glb'"),
        ([GOOD | {"path": "../b.glb"}], r"entry 0 .*path '\.\./b\.glb' leads out of"),
        ([GOOD | {"path": "/etc/passwd"}], "leads out of the manifest's folder"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.raises(ManifestError, match=message) as error:
        read_manifest(path)
    assert str(path) in str(error.value)


def test_a_link_out_of_the_folder_leads_out_of_it(tmp_path):
    folder = tmp_path / "assets"
    folder.mkdir()
    (tmp_path / "secret.glb").touch()
    (folder / "a.glb").symlink_to(tmp_path / "secret.glb")
    with pytest.raises(ManifestError, match="leads out"):
        read_manifest(write(folder, [GOOD | {"path": "a.glb"}]))


def test_a_missing_manifest(tmp_path):
    with pytest.raises(ManifestError, match=r"gone\.json: .*correct --manifest"):
        read_manifest(tmp_path / "gone.json")


def test_the_real_manifest_is_read(real_assets):
    entries = read_manifest(real_assets / "manifest.json")
    assert len(entries) == 289
    assert all(entry.path.is_file() for entry in entries)


def entries(**counts):
    return [
        Entry(f"{name}{i}", Path(f"{name}{i}.glb"), name, name)
        for name, count in counts.items()
        for i in range(count)
    ]


def test_a_fifth_of_each_class_is_held_out():
    held = [entry for entry in hold_out(entries(a=10, b=2, c=1), 0.2, 0) if entry.split == "test"]
    assert [entry.class_name for entry in held] == ["a", "a", "b"]
    assert hold_out(entries(a=10), 0.2, 0) == hold_out(entries(a=10), 0.2, 0)
    assert hold_out(entries(a=10), 0.2, 0) != hold_out(entries(a=10), 0.2, 1)
    # A class's own draw does not depend on the others.
    assert hold_out(entries(a=10, b=6), 0.2, 0)[:10] == hold_out(entries(a=10), 0.2, 0)


def test_splits_of_the_manifest_are_not_overruled():
    named = [*entries(a=3), Entry("x", Path("x.glb"), "a", "a", split="valid")]
    with pytest.raises(ManifestError, match="names the split 'valid' itself"):
        hold_out(named, 0.2, 0)
