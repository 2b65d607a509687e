import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcon3d_jax.assets import sample_points
from mixcon3d_jax.assets.asset import Asset, Cloud, Part, Texture


def part(triangles, color=(1.0, 1.0, 1.0)):
    triangles = np.asarray(triangles, np.float32)
    return Part(triangles, np.broadcast_to(np.float32(color), triangles.shape))


UNIT = np.float32([[[0, 0, 0], [1, 0, 0], [0, 1, 0]]])


def test_points_are_shared_out_by_area_over_geometries():
    # Areas 1/2 and 9/2: one tenth and nine tenths.
    asset = Asset((part(UNIT, (1, 0, 0)), part(3 * UNIT + 10, (0, 0, 1))))
    _, colors, _ = sample_points(asset, 20_000, np.random.default_rng(0))
    # Five standard deviations of a binomial share.
    assert abs((colors[:, 0] == 255).mean() - 0.1) < 5 * np.sqrt(0.09 / 20_000)


def test_points_are_uniform_in_a_triangle():
    points, _, _ = sample_points(Asset((part(UNIT),)), 20_000, np.random.default_rng(0))
    x, y = points[:, 0], points[:, 1]
    assert (x >= 0).all()
    assert (x + y <= 1 + 1e-6).all()
    np.testing.assert_allclose([x.mean(), y.mean()], 1 / 3, atol=0.01)
    # The quarter next to each corner holds a quarter of the points.
    for near in (x > 0.5, y > 0.5, x + y < 0.5):
        assert abs(near.mean() - 0.25) < 0.02


def test_a_triangle_without_area_is_never_hit():
    flat = np.float32([[[5, 5, 5]] * 3])
    asset = Asset((part(np.concatenate([flat, UNIT, flat])),))
    points, _, _ = sample_points(asset, 1000, np.random.default_rng(0))
    assert points.max() <= 1


def test_order_is_random_over_geometries():
    asset = Asset((part(UNIT, (1, 0, 0)), part(UNIT, (0, 0, 1))))
    _, colors, _ = sample_points(asset, 1000, np.random.default_rng(0))
    assert 400 < (colors[:500, 0] == 255).sum() * 2 < 600


def test_corner_colors_are_interpolated_as_light():
    colors = np.float32([[[1, 0, 0], [0, 1, 0], [0, 0, 1]]])
    asset = Asset((Part(UNIT, colors),))
    points, found, _ = sample_points(asset, 100, np.random.default_rng(0))
    linear = np.stack([1 - points[:, 0] - points[:, 1], points[:, 0], points[:, 1]], axis=1)
    srgb = np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(found, 255 * srgb, atol=1)


def test_colors_come_from_the_texel_below_the_point():
    image = np.uint8([[[255, 0, 0], [0, 255, 0]]])
    uv = UNIT[..., :2].copy()
    asset = Asset((Part(UNIT, np.ones((1, 3, 3), np.float32), uv, Texture(image)),))
    points, colors, _ = sample_points(asset, 500, np.random.default_rng(0))
    np.testing.assert_array_equal(colors[:, 1] == 255, points[:, 0] >= 0.5)


def test_holes_of_a_texture_get_no_points():
    image, uv = np.uint8([[[255, 0, 0], [0, 255, 0]]]), UNIT[..., :2].copy()
    white = np.ones((1, 3, 3), np.float32)
    leaf = Part(UNIT, white, uv, Texture(image, solid=np.array([[False, True]])))
    points, colors, _ = sample_points(Asset((leaf,)), 500, np.random.default_rng(0))
    assert len(points) == 500
    assert (points[:, 0] >= 0.5).all()
    # Solid: an eighth of one triangle and all of an equal one, so a fifth of the points.
    _, colors, _ = sample_points(Asset((leaf, part(UNIT))), 9000, np.random.default_rng(0))
    assert abs((colors[:, 0] == 0).mean() - 0.2) < 0.03
    invisible = Part(UNIT, white, uv, Texture(image, solid=np.zeros((1, 2), bool)))
    assert len(sample_points(Asset((invisible,)), 50, np.random.default_rng(0))[0]) == 50


CLOUD = Cloud(
    np.arange(300, dtype=np.float32).reshape(100, 3),
    np.arange(300).reshape(100, 3).astype(np.uint8),
)


def test_a_large_cloud_is_drawn_without_replacement():
    points, colors, warnings = sample_points(Asset(cloud=CLOUD), 100, np.random.default_rng(0))
    assert sorted(points[:, 0]) == sorted(CLOUD.points[:, 0])
    assert points[:, 0].tolist() != CLOUD.points[:, 0].tolist()
    np.testing.assert_array_equal(colors, points.astype(np.int64).astype(np.uint8))
    assert warnings == []


def test_a_small_cloud_is_drawn_with_replacement_and_a_warning():
    points, _, warnings = sample_points(Asset(cloud=CLOUD), 500, np.random.default_rng(0))
    assert len(points) == 500
    assert warnings == ["the cloud has 100 points, fewer than 500: sampled with replacement"]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_the_same_seed_gives_the_same_points(count, seed):
    asset = Asset((part(UNIT), part(UNIT + 3)))
    first = sample_points(asset, count, np.random.default_rng(seed))
    second = sample_points(asset, count, np.random.default_rng(seed))
    np.testing.assert_array_equal(first[0], second[0])
    assert first[0].shape == first[1].shape == (count, 3)
