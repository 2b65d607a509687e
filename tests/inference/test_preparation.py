from dataclasses import replace

import numpy as np
import pytest
import trimesh

from mixcon3d_jax.assets import load_asset
from mixcon3d_jax.inference.clouds import prepare_clouds
from mixcon3d_jax.inference.inputs import AssetFile
from mixcon3d_jax.inference.preparation import Preparation, Prepared, Unreadable, prepare_file
from tests.inference.shapes import cloud, turned_up, wedge, write_cloud

PREPARATION = Preparation(num_points=128, up_axis="y")


def prepared(path, up_axis="y", preparation=PREPARATION):
    found = prepare_file(AssetFile(str(path), path, up_axis), preparation)
    assert isinstance(found, Prepared), found
    return found


def refusal(path):
    found = prepare_file(AssetFile(str(path), path, "y"), PREPARATION)
    assert isinstance(found, Unreadable)
    return found.reason


def test_the_points_follow_from_the_asset_alone(tmp_path):
    first = write_cloud(tmp_path / "a.npz", 0)
    (tmp_path / "deep").mkdir()
    second = write_cloud(tmp_path / "deep" / "b.npz", 0)
    np.testing.assert_array_equal(prepared(first).points, prepared(second).points)
    points, colors = cloud(0)
    (found,) = prepare_clouds([points], [colors], "y", False, PREPARATION)
    np.testing.assert_array_equal(found.points, prepared(first).points)
    np.testing.assert_array_equal(found.colors, prepared(first).colors)
    other = prepared(write_cloud(tmp_path / "c.npz", 1))
    assert (other.points != found.points).any()


@pytest.mark.parametrize("suffix", ["glb", "obj", "ply", "stl", "off"])
def test_a_turned_mesh_has_the_same_points(tmp_path, suffix):
    wedge().export(tmp_path / f"a.{suffix}")
    turned_up(wedge()).export(tmp_path / f"b.{suffix}")
    one, other = prepared(tmp_path / f"a.{suffix}"), prepared(tmp_path / f"b.{suffix}", "z")
    apart = np.abs(one.points.astype(int) - other.points.astype(int))
    assert apart.max() <= 2  # of 65,535; files of texts round
    np.testing.assert_array_equal(one.colors, other.colors)


def test_parts_in_another_order_have_the_same_points(tmp_path):
    parts = [wedge() for _ in range(3)]
    for number, part in enumerate(parts):
        part.apply_translation([0, 0, 4 * number])
    parts.append(trimesh.creation.box())
    for name, order in (("a", [0, 1, 2, 3]), ("b", [3, 1, 0, 2])):
        scene = trimesh.Scene({f"{place}": parts[i] for place, i in enumerate(order)})
        scene.export(tmp_path / f"{name}.glb")
    one, other = prepared(tmp_path / "a.glb"), prepared(tmp_path / "b.glb")
    np.testing.assert_array_equal(one.points, other.points)
    np.testing.assert_array_equal(one.colors, other.colors)


def test_a_model_with_z_up_gets_z_up(tmp_path):
    path = tmp_path / "a.glb"
    wedge().export(path)
    y_up = prepared(path).points.astype(float)
    z_up = prepared(path, preparation=replace(PREPARATION, up_axis="z")).points.astype(float)
    # (x, y, z) -> (x, -z, y), but for where fixed point begins.
    centred = [points - points.mean(axis=0) for points in (y_up, z_up)]
    np.testing.assert_allclose(centred[1], centred[0][:, [0, 2, 1]] * (1, -1, 1), atol=1)


def test_renders_are_those_of_preparation(tmp_path):
    from mixcon3d_jax.assets import render_views

    path = tmp_path / "a.glb"
    wedge().export(path)
    found = prepared(path, preparation=replace(PREPARATION, render_size=16))
    np.testing.assert_array_equal(found.views, render_views(load_asset(path, "y"), 16))
    assert prepared(path).views is None


def test_a_large_cloud_is_thinned_and_a_small_one_drawn_from_again(tmp_path):
    path = write_cloud(tmp_path / "a.npz", 0, count=500)
    assert prepared(path).notes == ()
    limited = prepared(path, preparation=replace(PREPARATION, most_points=200))
    assert limited.notes == ("the cloud has 500 points: 200 of them, at random, are used",)
    (note,) = prepared(write_cloud(tmp_path / "b.npz", 0, count=20)).notes
    assert "20 points, fewer than 128" in note


def test_what_cannot_be_used_is_named_with_its_reason(tmp_path):
    np.save(tmp_path / "one.npy", np.ones((1, 3)))
    assert refusal(tmp_path / "one.npy").endswith("in one place, which is no shape; check it")
    np.save(tmp_path / "same.npy", np.ones((50, 3)))
    assert "all its points are in one place" in refusal(tmp_path / "same.npy")
    points = cloud(0)[0]
    points[7, 1] = np.nan
    np.save(tmp_path / "nan.npy", points)
    assert "nan.npy: points are NaN or infinite" in refusal(tmp_path / "nan.npy")
    (tmp_path / "empty.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\n")
    assert "empty.obj" in refusal(tmp_path / "empty.obj")
    assert "neither faces nor points" in refusal(tmp_path / "empty.obj")
    np.save(tmp_path / "far.npy", points[:7].astype(np.float64) * 1e38)
    assert "far.npy" in refusal(tmp_path / "far.npy")
    assert "no such file" in refusal(tmp_path / "nowhere.glb")
    trimesh.creation.box().export(tmp_path / "cut.glb")
    (tmp_path / "cut.glb").write_bytes((tmp_path / "cut.glb").read_bytes()[:100])
    assert "cut.glb" in refusal(tmp_path / "cut.glb")
