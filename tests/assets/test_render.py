import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcon3d_jax.assets import contact_sheet, load_asset, render_views, sample_points
from mixcon3d_jax.assets.asset import Asset, Cloud, Part, Texture
from mixcon3d_jax.assets.cameras import (
    CAMERA_DISTANCE,
    OBJECT_EXTENT,
    TAN_HALF_FOV,
    VIEW_ANGLES,
    camera_frames,
    fit_to_views,
)


def boxes(*bounds_and_colors):
    parts = []
    for low, high, color in bounds_and_colors:
        triangles = np.float32(trimesh.creation.box(bounds=[low, high]).triangles)
        parts.append(Part(triangles, np.broadcast_to(np.float32(color), triangles.shape)))
    return Asset(tuple(parts))


def hue(image):
    """0, 1, 2 where red, green, blue is brightest; -1 where the picture is colourless."""
    image = image.astype(int)
    return np.where(np.ptp(image, axis=-1) > 30, image.argmax(axis=-1), -1)


def test_cameras_are_those_of_the_published_renders():
    for (polar, azimuth), frame in zip(VIEW_ANGLES, camera_frames(), strict=True):
        polar, azimuth = polar * np.pi, azimuth * np.pi
        x, y, z = (
            1.2 * np.sin(polar) * np.cos(azimuth),
            1.2 * np.sin(polar) * np.sin(azimuth),
            1.2 * np.cos(polar),
        )
        np.testing.assert_allclose(frame.position, [x, z, -y], atol=1e-12)
        axes = np.stack([frame.right, frame.up, -frame.forward])
        np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(axes) > 0
        assert frame.up[1] > 0
    assert pytest.approx(32 / 2 / 35) == TAN_HALF_FOV


def test_up_is_up_and_right_is_right():
    red_above_green = boxes(((0, 1, 0), (1, 2, 1), (1, 0, 0)), ((0, 0, 0), (1, 1, 1), (0, 1, 0)))
    for view in render_views(red_above_green, 48):
        rows = np.arange(48)[:, None] * np.ones(48)
        assert rows[hue(view) == 0].mean() < rows[hue(view) == 1].mean()
    # View 8 (azimuth 0) stands on +x: a box further along -z is to its right.
    red_right_of_green = boxes(
        ((0, 0, -2), (1, 1, -1), (1, 0, 0)), ((0, 0, 0), (1, 1, 1), (0, 1, 0))
    )
    view = render_views(red_right_of_green, 48)[8]
    columns = np.ones(48)[:, None] * np.arange(48)
    assert columns[hue(view) == 0].mean() > columns[hue(view) == 1].mean()


def test_the_nearer_surface_is_seen():
    shell_and_core = boxes(
        ((-1, -1, -1), (1, 1, 1), (1, 0, 0)), ((-0.5,) * 3, (0.5,) * 3, (0, 1, 0))
    )
    for view in render_views(shell_and_core, 32):
        assert set(np.unique(hue(view))) == {-1, 0}


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e4])
def test_nothing_is_cropped_or_black_at_any_size_and_place(size):
    place = np.array([3.0, -5.0, 8.0]) * size
    for view in render_views(boxes((place, place + size, (0.2, 0.2, 0.2))), 40):
        border = np.concatenate([view[0], view[-1], view[:, 0], view[:, -1]])
        assert (border == 255).all()
        drawn = view[(view != 255).any(axis=-1)]
        assert len(drawn) > 200
        assert drawn.min() > 30


def test_rays_go_on_behind_the_holes_of_a_texture():
    sheet = np.float32([[[0, -1, -1], [0, 1, -1], [0, 0, 1]]])
    uv = np.zeros((1, 3, 2), np.float32)
    hole = Texture(np.uint8([[[255, 0, 0]]]), solid=np.zeros((1, 1), bool))
    red, green = (np.broadcast_to(np.float32(c), (1, 3, 3)) for c in ((1, 0, 0), (0, 1, 0)))
    layers = [Part(sheet + np.float32([x, 0, 0]), red, uv, hole) for x in (0.2, 0.3, 0.4)]
    view = render_views(Asset((*layers, Part(sheet, green))), 32)[8]
    assert set(np.unique(hue(view))) == {-1, 1}
    assert (hue(view) == 1).sum() > 50


def test_both_sides_of_a_sheet_are_lit_alike():
    sheet = np.float32([[[0, -1, -1], [0, 1, -1], [0, 0, 1]]])
    white = np.full((1, 3, 3), 0.8, np.float32)
    for triangles in (sheet, sheet[:, ::-1].copy()):
        view = render_views(Asset((Part(triangles, white),)), 32)[8]
        assert 150 < np.median(view[(view != 255).any(axis=-1)]) < 255


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.floats(-100, 100)] * 3), min_size=2, max_size=20))
def test_fitted_objects_are_inside_every_picture(corners):
    corners = np.array(corners)
    if np.ptp(corners, axis=0).max() < 1e-3:
        return
    centre, scale = fit_to_views(corners)
    fitted = (corners - centre) * scale
    assert np.ptp(fitted, axis=0).max() <= OBJECT_EXTENT + 1e-9
    for frame in camera_frames():
        depth = CAMERA_DISTANCE + fitted @ frame.forward
        for axis in (frame.right, frame.up):
            assert (np.abs(fitted @ axis) < TAN_HALF_FOV * depth).all()


def test_slim_objects_have_the_published_size():
    _, scale = fit_to_views(np.array([[0, 0, 0], [0.1, 2.0, 0.1]]))
    assert scale == pytest.approx(OBJECT_EXTENT / 2.0)


def test_a_cloud_is_drawn_like_its_surface():
    asset = boxes(((0, 0, 0), (1, 2, 0.5), (1, 0, 0)))
    points, colors, _ = sample_points(asset, 10_000, np.random.default_rng(0))
    solid, splats = render_views(asset, 64), render_views(Asset(cloud=Cloud(points, colors)), 64)
    for a, b in zip(hue(solid) == 0, hue(splats) == 0, strict=True):
        assert (a & b).sum() / (a | b).sum() > 0.85


def test_one_point_is_drawn():
    cloud = Cloud(np.zeros((1, 3), np.float32), np.zeros((1, 3), np.uint8))
    assert all((view < 255).any() for view in render_views(Asset(cloud=cloud), 16))


def test_supersampling_is_a_mean_and_renders_are_deterministic():
    asset = boxes(((0, 0, 0), (1, 1, 1), (1, 1, 1)))
    once, again = render_views(asset, 24, supersample=3), render_views(asset, 24, supersample=3)
    np.testing.assert_array_equal(once, again)
    assert once.shape == (12, 24, 24, 3)
    assert len(np.unique(once)) > len(np.unique(render_views(asset, 24, supersample=1)))


def test_all_real_assets_are_usable(real_assets):
    """Renders and points of other people's assets agree in colour and are not black."""
    kinds = (".glb", ".gltf", ".obj")
    for path in sorted(p for p in real_assets.rglob("*") if p.suffix in kinds)[::12]:
        asset = load_asset(path, "y")
        assert asset.warnings == []
        _, colors, _ = sample_points(asset, 1000, np.random.default_rng(0))
        assert colors.max() > 40
        for view in render_views(asset, 48):
            assert (view < 255).any(axis=-1).mean() > 0.002
            assert (view[[0, -1]] == 255).all()
            assert (view[:, [0, -1]] == 255).all()


def test_contact_sheets_hold_all_pictures():
    images = [np.full((8, 10, 3), value, np.uint8) for value in (10, 20, 30)]
    sheet = np.asarray(contact_sheet(images, ["a", "b", "a long label"], columns=2))
    for value in (10, 20, 30):
        assert ((sheet == value).all(axis=-1)).sum() >= 80
    with pytest.raises(ValueError, match="3 pictures, 1 labels"):
        contact_sheet(images, ["a"], columns=2)
