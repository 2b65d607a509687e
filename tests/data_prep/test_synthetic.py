"""The built-in data set: deterministic, valid, truthfully captioned, and laid out as promised."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep import synthetic
from data_prep.shapes import CLASSES, SEEN_CLASSES, UNSEEN_CLASSES
from data_prep.shapes.captions import MAX_LENGTH, main_colour, with_article
from data_prep.shapes.colours import NAMED_COLOURS, Paint
from data_prep.synthetic import SyntheticError, make_object, plan
from mixcon3d_jax.assets import load_asset, sample_points

# How far the nearest named colour may lie: jitter (8 + 4) and a texture's fade (5 % of 240) in each
# of three channels, and the rounding of linear vertex colours to 8 bits.
COLOUR_TOLERANCE = 24 * 3**0.5 + 3


def glb(class_name: str, seed: int = 0, split: str = "train", index: int = 0) -> bytes:
    return make_object(class_name, seed, split, index).mesh_scene.export(file_type="glb")


def sampled(folder, data: bytes, count: int = 2000):
    path = folder / "object.glb"
    path.write_bytes(data)
    points, colors, warnings = sample_points(load_asset(path, "y"), count, np.random.default_rng(0))
    assert warnings == []
    return points, colors


def colour_names(colors: np.ndarray) -> list[str]:
    table = np.array(list(NAMED_COLOURS.values()))
    distances = np.linalg.norm(colors[:, None].astype(float) - table[None], axis=-1)
    assert distances.min(axis=1).max() < COLOUR_TOLERANCE
    return [list(NAMED_COLOURS)[index] for index in distances.argmin(axis=1)]


def test_thirty_classes_are_trained_on_and_six_are_not():
    assert len(SEEN_CLASSES) == 30
    assert UNSEEN_CLASSES == ("armchair", "bush", "cabinet", "stool", "street_light", "truck")
    assert list(CLASSES) == sorted(CLASSES)


@pytest.mark.parametrize("class_name", CLASSES)
def test_the_same_name_gives_the_same_bytes(class_name):
    assert glb(class_name, index=3) == glb(class_name, index=3)


def test_seed_split_and_index_each_give_another_object():
    names = [(0, "train", 0), (1, "train", 0), (0, "seen", 0), (0, "clip", 0), (0, "train", 1)]
    made = {glb("chair", *name) for name in names}
    assert len(made) == len(names)


@settings(deadline=None, max_examples=300)
@given(class_name=st.sampled_from(list(CLASSES)), index=st.integers(0, 10**9))
def test_every_object_is_a_valid_mesh_with_fair_captions(class_name, index):
    item = make_object(class_name, seed=5, split="any", index=index)
    faces = 0
    for mesh in item.mesh_scene.geometry.values():
        assert np.isfinite(mesh.vertices).all()
        assert mesh.area > 0
        faces += len(mesh.faces)
    assert 20 <= faces <= 3000
    assert item.class_name == class_name
    noun = class_name.replace("_", " ")
    assert item.text.endswith(f" {noun}")
    assert item.captions[0] == with_article(noun)
    assert len(item.captions) == len(set(item.captions)) == 4
    for caption in (item.text, *item.captions):
        assert caption == caption.lower().strip()
        assert len(caption) <= MAX_LENGTH
        words = caption.split()
        assert words[0] in ("a", "an")
        for word, following in pairwise(words):
            if word in ("a", "an"):
                assert (word == "an") == (following[0] in "aeiou"), caption


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("class_name", CLASSES)
def test_prepared_colours_are_those_that_the_captions_name(tmp_path, class_name, index):
    item = make_object(class_name, seed=0, split="train", index=index)
    points, colors = sampled(tmp_path, item.mesh_scene.export(file_type="glb"))
    assert np.isfinite(points).all()
    names = colour_names(colors)
    counts = {name: names.count(name) for name in set(names)}
    main = item.text.split()[1]
    # Two colours may cover nearly the same area; then a sample may order them the other way round.
    assert counts[main] > 0.9 * max(counts.values())
    mentioned = {word for word in item.captions[2].split() if word in NAMED_COLOURS}
    assert mentioned <= set(names)


def test_the_three_ways_of_carrying_colour_all_occur():
    ways = set()
    for index in range(40):
        mesh = next(iter(make_object("cup", 0, "train", index).mesh_scene.geometry.values()))
        textured = getattr(getattr(mesh.visual, "material", None), "baseColorTexture", None)
        ways.add(
            "vertex" if mesh.visual.kind == "vertex" else "texture" if textured else "material"
        )
    assert ways == {"vertex", "texture", "material"}


def test_main_colour_adds_the_areas_of_parts_of_one_colour():
    red, blue = Paint("red", (205, 35, 35)), Paint("blue", (40, 80, 205))
    paints = {"seat": red, "back": blue, "legs": blue}
    assert main_colour(paints, {"seat": 3.0, "back": 2.0, "legs": 1.5}) == "blue"
    assert main_colour(paints, {"seat": 3.0, "back": 2.0, "legs": 0.5}) == "red"


def run(folder, *flags: str) -> list[dict]:
    synthetic.main([f"--output={folder}", *flags])
    return json.loads((folder / "manifest.json").read_text())


def test_manifest_lists_every_file_and_nothing_else(tmp_path):
    counts = ("--train-per-class=2", "--seen-per-class=1", "--unseen-per-class=3")
    entries = run(tmp_path, *counts)
    assert len(entries) == 30 * 2 + 30 * 1 + 6 * 3
    assert {entry["path"] for entry in entries} == {
        str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.glb")
    }
    assert len({entry["id"] for entry in entries}) == len(entries)
    for entry in entries:
        assert set(entry) == {"id", "path", "class", "text", "captions", "split"}
        expected = UNSEEN_CLASSES if entry["split"] == "unseen" else SEEN_CLASSES
        assert entry["class"] in expected


def test_same_seed_same_folder_and_other_counts_leave_objects_unchanged(tmp_path):
    flags = ("--classes=chair,truck", "--seen-per-class=1", "--unseen-per-class=2")
    few = run(tmp_path / "few", "--train-per-class=1", *flags)
    again = run(tmp_path / "again", "--train-per-class=1", *flags)
    many = run(tmp_path / "many", "--train-per-class=3", *flags)
    assert few == again
    assert [entry for entry in many if entry in few] == few
    for entry in few:
        data = (tmp_path / "few" / entry["path"]).read_bytes()
        assert data == (tmp_path / "again" / entry["path"]).read_bytes()
        assert data == (tmp_path / "many" / entry["path"]).read_bytes()
    other = run(tmp_path / "other", "--train-per-class=1", "--seed=1", *flags)
    assert [entry["text"] for entry in other] != [entry["text"] for entry in few]


def test_size_is_drawn_alike_for_all_classes():
    sizes = {
        name: [make_object(name, 0, "any", index).mesh_scene.extents.max() for index in range(200)]
        for name in ("key", "house")
    }
    low, high = synthetic.SIZE_RANGE
    for values in sizes.values():
        # Log-uniform between the limits: quartiles at a quarter, a half and three quarters.
        share = np.sort(np.log(np.array(values) / low) / np.log(high / low))
        np.testing.assert_allclose(share[[50, 100, 150]], [0.25, 0.5, 0.75], atol=0.12)
        assert share[0] > -1e-6
        assert share[-1] < 1 + 1e-6


def test_unknown_class_names_the_nearest():
    with pytest.raises(SyntheticError, match=r"'chiar'.*did you mean 'chair'"):
        make_object("chiar", 0, "train", 0)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--classes=chair,lapm"], "did you mean 'lamp'"),
        (["--train-per-class=-1"], "--train-per-class=-1"),
        (["--classes=chair", "--train-per-class=0", "--seen-per-class=0"], "no object"),
    ],
)
def test_bad_flags_are_errors_that_say_what_to_do(tmp_path, capsys, flags, message):
    with pytest.raises(SystemExit) as stopped:
        synthetic.main([f"--output={tmp_path}", *flags])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "manifest.json").exists()


def test_an_output_that_cannot_be_written_is_an_error(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SystemExit) as stopped:
        synthetic.main([f"--output={tmp_path / 'file' / 'data'}", "--classes=key"])
    assert stopped.value.code == 2
    assert "cannot write the data set" in capsys.readouterr().err


def test_a_full_disk_leaves_no_manifest_behind(tmp_path, capsys, monkeypatch):
    run(tmp_path, "--classes=key", "--train-per-class=1", "--seen-per-class=0")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(SystemExit):
        synthetic.main([f"--output={tmp_path}", "--classes=key"])
    assert "No space left" in capsys.readouterr().err
    assert not (tmp_path / "manifest.json").exists()


def test_plan_puts_each_class_in_its_splits():
    objects = plan(["chair", "truck"], train=2, seen=1, unseen=1)
    assert objects == [
        ("train", "chair", 0),
        ("train", "chair", 1),
        ("seen", "chair", 0),
        ("unseen", "truck", 0),
    ]
