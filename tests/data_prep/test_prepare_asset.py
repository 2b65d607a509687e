import shutil
from dataclasses import replace

import numpy as np
import pytest
import trimesh
from PIL import Image

from data_prep.prepare_asset import (
    PrepareOptions,
    decode_render,
    prepare,
    prepared_path,
    read_prepared,
)

OPTIONS = PrepareOptions(up_axis="y", num_points=50, render_size=16, seed=0)


@pytest.fixture
def textured(tmp_path):
    """An OBJ file with its material library and texture."""
    (tmp_path / "a.obj").write_text(
        "mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nusemtl m\nf 1/1 2/1 3/1\n"
    )
    (tmp_path / "a.mtl").write_text("newmtl m\nmap_Kd a.png\n")
    Image.new("RGB", (2, 2), (9, 8, 7)).save(tmp_path / "a.png")
    return tmp_path / "a.obj"


def test_what_is_stored(textured, tmp_path):
    outcome = prepare(textured, "id", tmp_path, tmp_path / "work", OPTIONS)
    prepared = read_prepared(tmp_path / "work", "id")
    assert outcome.failure == ""
    assert prepared.fingerprint == outcome.fingerprint
    assert prepared.points.shape == (50, 3)
    assert np.unique(prepared.colors, axis=0).tolist() == [[9, 8, 7]]
    assert len(prepared.renders) == 12
    assert decode_render(prepared.renders[0]).shape == (16, 16, 3)


def is_redone(asset, work, options=OPTIONS):
    target = prepared_path(work, "id")
    before = target.stat().st_ino
    outcome = prepare(asset, "id", asset.parent, work, options)
    assert read_prepared(work, "id").fingerprint == outcome.fingerprint
    return target.stat().st_ino != before


def test_work_is_redone_only_when_a_file_or_an_option_changes(textured, tmp_path):
    work = tmp_path / "work"
    prepare(textured, "id", tmp_path, work, OPTIONS)
    assert not is_redone(textured, work)
    assert is_redone(textured, work, replace(OPTIONS, seed=1))
    assert is_redone(textured, work, OPTIONS)
    Image.new("RGB", (2, 2), (1, 2, 3)).save(tmp_path / "a.png")
    assert is_redone(textured, work)
    textured.write_text(textured.read_text().replace("v 1 0 0", "v 2 0 0"))
    assert is_redone(textured, work)
    assert not is_redone(textured, work)


def test_a_texture_that_turns_up_later_is_used(textured, tmp_path):
    shutil.move(tmp_path / "a.png", tmp_path / "kept.png")
    outcome = prepare(textured, "id", tmp_path, tmp_path / "work", OPTIONS)
    assert "a.png" in outcome.warnings[0]
    again = prepare(textured, "id", tmp_path, tmp_path / "work", OPTIONS)
    assert again.warnings == outcome.warnings
    shutil.move(tmp_path / "kept.png", tmp_path / "a.png")
    assert prepare(textured, "id", tmp_path, tmp_path / "work", OPTIONS).warnings == ()


@pytest.mark.parametrize("damage", [b"", b"nothing like it", None])
def test_a_damaged_prepared_file_is_redone(textured, tmp_path, damage):
    prepare(textured, "id", tmp_path, tmp_path / "work", OPTIONS)
    target = prepared_path(tmp_path / "work", "id")
    whole = target.read_bytes()
    target.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    prepare(textured, "id", tmp_path, tmp_path / "work", OPTIONS)
    assert target.read_bytes() == whole


def test_points_depend_on_seed_and_id_alone(textured, tmp_path):
    def points(asset_id, work, options=OPTIONS):
        prepare(textured, asset_id, tmp_path, tmp_path / work, options)
        return read_prepared(tmp_path / work, asset_id).points

    first = points("one", "a")
    np.testing.assert_array_equal(first, points("one", "b"))
    assert (first != points("two", "a")).any()
    assert (first != points("one", "c", replace(OPTIONS, seed=1))).any()


def test_failures_are_told_and_not_stored(tmp_path):
    outcome = prepare(tmp_path / "gone.glb", "id", tmp_path, tmp_path / "work", OPTIONS)
    assert "no such file" in outcome.failure
    trimesh.creation.box().export(tmp_path / "gone.glb")
    assert prepare(tmp_path / "gone.glb", "id", tmp_path, tmp_path / "work", OPTIONS).failure == ""


def test_a_texture_outside_the_collection_is_not_read(textured, tmp_path):
    folder = tmp_path / "inside"
    folder.mkdir()
    for name in ("a.obj", "a.mtl"):
        shutil.move(tmp_path / name, folder / name)
    (folder / "a.mtl").write_text("newmtl m\nmap_Kd ../a.png\n")
    alone = prepare(folder / "a.obj", "id", folder, tmp_path / "alone", OPTIONS)
    assert "'../a.png', which lies outside" in alone.warnings[0]
    assert set(read_prepared(tmp_path / "alone", "id").colors.ravel()) == {102}
    assert prepare(folder / "a.obj", "id", tmp_path, tmp_path / "with", OPTIONS).warnings == ()
