"""Each augmentation on its own, their order, and their numbers on any mesh."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mixcon3d_jax.data.augment import (
    GREY,
    AugmentConfig,
    apply_augmentation,
    augment,
    draw_augmentation,
    rotation_matrices,
)
from mixcon3d_jax.sharding import batch_sharding, make_mesh, replicated

OFF = AugmentConfig(
    max_dropout=0.0,
    min_scale=1.0,
    max_scale=1.0,
    max_shift=0.0,
    angle_sigma=0.0,
    max_angle=0.0,
    rotate_z=False,
    grey_probability=0.0,
)
CLOUDS = 2000


def run(points, colors=None, seed=0, **changes):
    """Augments with everything off but what `changes` says."""
    points = jnp.asarray(points, jnp.float32)
    colors = jnp.zeros_like(points) if colors is None else jnp.asarray(colors, jnp.float32)
    config = dataclasses.replace(OFF, **changes)
    moved, colored = augment(jax.random.key(seed), points, colors, config)
    assert moved.shape == colored.shape == points.shape
    assert moved.dtype == colored.dtype == jnp.float32
    return np.asarray(moved), np.asarray(colored)


def repeated(cloud) -> np.ndarray:
    return np.broadcast_to(np.asarray(cloud, np.float32), (CLOUDS, *np.shape(cloud)))


def random_clouds(batch=8, points=50):
    rng = np.random.default_rng(0)
    return rng.normal(size=(batch, points, 3)), rng.uniform(size=(batch, points, 3))


def rotations(**changes) -> np.ndarray:
    """The matrix that each of many clouds was turned by."""
    moved, _ = run(repeated(np.eye(3)), **changes)
    return moved.transpose(0, 2, 1)


def assert_uniform(values, low, high):
    """All within the range, and each tenth of it holds its share (five standard deviations)."""
    assert values.min() >= low
    assert values.max() <= high
    counts, _ = np.histogram(values, 10, (low, high))
    assert np.abs(counts - len(values) / 10).max() <= 5 * np.sqrt(0.09 * len(values))


def test_off_is_off():
    points, colors = random_clouds()
    moved, colored = run(points, colors)
    np.testing.assert_array_equal(moved, points.astype(np.float32))
    np.testing.assert_array_equal(colored, colors.astype(np.float32))


def test_the_defaults_are_the_originals():
    assert AugmentConfig() == AugmentConfig(0.875, 0.8, 1.25, 0.1, 0.06, 0.18, True, 0.5)


def test_dropout_moves_points_to_the_first_and_leaves_the_rest():
    cloud = np.random.default_rng(1).normal(size=(200, 3)).astype(np.float32)
    moved, _ = run(repeated(cloud), max_dropout=0.875)
    dropped = (moved == cloud[0]).all(axis=-1)
    kept = (moved == cloud).all(axis=-1)
    assert (dropped | kept).all()
    share = dropped[:, 1:].mean(axis=1)
    assert share.max() < 0.875 + 5 * np.sqrt(0.11 / 199)
    # Uniform in 0..0.875: mean and standard deviation.
    assert abs(share.mean() - 0.4375) < 5 * 0.875 / np.sqrt(12 * CLOUDS)
    assert abs(share.std() - 0.875 / np.sqrt(12)) < 0.02
    # No place in the cloud is safer than another.
    by_place = dropped[:, 1:].mean(axis=0)
    assert np.abs(by_place - 0.4375).max() < 5 * np.sqrt(0.25 / CLOUDS)


def test_scale():
    moved, _ = run(repeated([[1, 2, -3], [0, 0.5, 1]]), min_scale=0.8, max_scale=1.25)
    scale = moved[:, 0, 0]
    assert_uniform(scale, 0.8, 1.25)
    expected = np.array([[1, 2, -3], [0, 0.5, 1]]) * scale[:, None, None]
    np.testing.assert_allclose(moved, expected, rtol=1e-6)


def test_shift():
    moved, _ = run(repeated([[0, 0, 0], [1, 2, 3]]), max_shift=0.1)
    for axis in range(3):
        assert_uniform(moved[:, 0, axis], -0.1, 0.1)
    assert np.abs(np.corrcoef(moved[:, 0].T) - np.eye(3)).max() < 5 / np.sqrt(CLOUDS)
    np.testing.assert_allclose(moved[:, 1] - moved[:, 0], repeated([1, 2, 3]), atol=1e-6)


def angles_of(rotation) -> np.ndarray:
    """Angles about x, y, z, in the order in which they are applied."""
    x = np.arctan2(rotation[:, 2, 1], rotation[:, 2, 2])
    z = np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])
    return np.stack([x, -np.arcsin(rotation[:, 2, 0]), z], axis=1)


def test_small_rotations_are_normal_and_clipped():
    angles = angles_of(rotations(angle_sigma=0.06, max_angle=0.18))
    assert np.abs(angles).max() <= 0.18 + 1e-6
    # 0.27 % of a normal distribution lie beyond three sigmas, where it is clipped.
    clipped = (np.abs(angles) > 0.18 - 1e-5).mean()
    assert 0 < clipped < 0.0027 + 5 * np.sqrt(0.0027 / angles.size)
    np.testing.assert_allclose(angles.std(axis=0), 0.06, rtol=0.1)
    assert np.abs(angles.mean(axis=0)).max() < 5 * 0.06 / np.sqrt(CLOUDS)
    assert np.abs(np.corrcoef(angles.T) - np.eye(3)).max() < 5 / np.sqrt(CLOUDS)


def test_rotation_about_z_is_uniform_and_leaves_z_alone():
    turned = rotations(rotate_z=True)
    np.testing.assert_array_equal(turned[:, 2], repeated([0, 0, 1]))
    np.testing.assert_array_equal(turned[:, :, 2], repeated([0, 0, 1]))
    assert_uniform(angles_of(turned)[:, 2], -np.pi, np.pi)
    points, _ = random_clouds()
    moved, _ = run(points, rotate_z=True)
    np.testing.assert_allclose(moved[..., 2], points[..., 2], rtol=1e-6)
    np.testing.assert_allclose(
        np.linalg.norm(moved, axis=-1), np.linalg.norm(points, axis=-1), rtol=1e-5
    )


@settings(deadline=None)
@given(angles=hnp.arrays(np.float32, (5, 3), elements=st.floats(-10, 10, width=32)))
def test_rotation_matrices_are_rotations(angles):
    found = np.asarray(rotation_matrices(jnp.asarray(angles)), np.float64)
    np.testing.assert_allclose(found @ found.transpose(0, 2, 1), [np.eye(3)] * 5, atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(found), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("axis", "start", "end"),
    [(0, (0, 1, 0), (0, 0, 1)), (1, (0, 0, 1), (1, 0, 0)), (2, (1, 0, 0), (0, 1, 0))],
)
def test_a_quarter_turn_follows_the_right_hand(axis, start, end):
    angles = np.pi / 2 * np.eye(3, dtype=np.float32)[axis][None]
    found = np.asarray(rotation_matrices(jnp.asarray(angles)))[0] @ np.array(start)
    np.testing.assert_allclose(found, end, atol=1e-6)


def test_rotations_are_about_x_then_y_then_z():
    angles = np.array([[0.3, -0.2, 0.5]], np.float32)
    x, y, z = (
        np.asarray(rotation_matrices(jnp.asarray(angles * np.eye(3)[i])))[0] for i in range(3)
    )
    found = np.asarray(rotation_matrices(jnp.asarray(angles)))[0]
    np.testing.assert_allclose(found, z @ y @ x, atol=1e-6)


def test_dropout_comes_before_everything():
    points, _ = random_clouds()
    everything = dataclasses.asdict(AugmentConfig())
    moved, _ = run(points, **everything | {"max_dropout": 0.875})
    dropped = (run(points, max_dropout=0.875)[0] == points[:, :1].astype(np.float32)).all(axis=-1)
    assert dropped[:, 1:].any()
    first = np.broadcast_to(moved[:, :1], moved.shape)
    np.testing.assert_array_equal(moved[dropped], first[dropped])


def test_scale_comes_before_shift():
    moved, _ = run(repeated([[0, 0, 0]]), min_scale=3.0, max_scale=3.0, max_shift=0.1)
    assert_uniform(moved[:, 0, 0], -0.1, 0.1)


def test_shift_comes_before_rotation():
    shifted, _ = run(repeated([[0, 0, 0]]), max_shift=0.1)
    moved, _ = run(repeated([[0, 0, 0]]), max_shift=0.1, rotate_z=True)
    # A shifted origin is turned: it leaves the square, not the circle around it.
    assert np.abs(moved[..., :2]).max() > 0.11
    np.testing.assert_allclose(
        np.linalg.norm(moved, axis=-1), np.linalg.norm(shifted, axis=-1), rtol=1e-5
    )


def test_small_rotations_come_before_the_one_about_z():
    points, _ = random_clouds()
    small = {"angle_sigma": 0.06, "max_angle": 0.18}
    turned, _ = run(points, rotate_z=True, **small)
    np.testing.assert_allclose(turned[..., 2], run(points, **small)[0][..., 2], atol=1e-5)


def test_half_of_the_clouds_turn_grey_as_a_whole():
    rng = np.random.default_rng(2)
    colors = rng.uniform(0.5, 1, size=(CLOUDS, 4, 3)).astype(np.float32)
    points = rng.normal(size=(CLOUDS, 4, 3))
    moved, colored = run(points, colors, grey_probability=0.5)
    grey = (colored == np.float32(GREY)).all(axis=(1, 2))
    np.testing.assert_array_equal(colored[~grey], colors[~grey])
    assert abs(grey.mean() - 0.5) < 5 * 0.5 / np.sqrt(CLOUDS)
    assert GREY == 0.4
    np.testing.assert_array_equal(moved, points.astype(np.float32))


def test_no_random_number_serves_twice():
    cloud = np.zeros((200, 3))
    cloud[1:, 0] = 1
    everything = dataclasses.asdict(AugmentConfig(angle_sigma=0.0))
    moved, colored = run(repeated(cloud), **everything)
    dropped = (moved == moved[:, :1]).all(axis=-1)
    # At most 7 in 8 points are dropped: one of the others shows scale and turn.
    kept = moved[np.arange(CLOUDS), np.argmin(dropped, axis=1)] - moved[:, 0]
    drawn = {
        "dropout": dropped.mean(axis=1),
        "scale": np.linalg.norm(kept, axis=1),
        "turn": np.arctan2(kept[:, 1], kept[:, 0]) % (2 * np.pi),
        "shift": moved[:, 0, 2],
        "grey": (colored[:, 0, 0] == np.float32(GREY)).astype(float),
    }
    correlation = np.corrcoef(list(drawn.values())) - np.eye(len(drawn))
    assert np.abs(correlation).max() < 5 / np.sqrt(CLOUDS)


def test_colors_stay_with_their_points():
    points, colors = random_clouds()
    everything = dataclasses.asdict(AugmentConfig(grey_probability=0.0))
    moved, colored = run(points, colors, **everything)
    np.testing.assert_array_equal(colored, colors.astype(np.float32))
    assert not np.isclose(moved, points).all(axis=-1).any()


def test_clouds_of_a_batch_differ_and_so_do_steps():
    points, _ = random_clouds()
    same = np.broadcast_to(points[:1], points.shape)
    config = AugmentConfig()

    def at_step(step):
        key = jax.random.fold_in(jax.random.key(0), step)
        moved = augment(key, jnp.asarray(same), jnp.zeros(same.shape), config)[0]
        return np.asarray(moved)

    first, again, second = at_step(0), at_step(0), at_step(1)
    np.testing.assert_array_equal(first, again)
    assert len({cloud.tobytes() for cloud in [*first, *second]}) == 2 * len(points)


def on_mesh(devices: int):
    mesh = make_mesh(1, devices, 1, jax.devices()[:devices])
    batch, whole = batch_sharding(mesh), replicated(mesh)
    step = jax.jit(
        lambda key, points, colors: augment(key, points, colors, AugmentConfig()),
        in_shardings=(whole, batch, batch),
        out_shardings=batch,
    )
    points, colors = (x.astype(np.float32) for x in random_clouds())
    found = step(jax.random.key(3), points, colors)
    assert found[0].sharding.num_devices == devices
    return [np.asarray(x) for x in found]


def test_numbers_are_the_same_on_one_device_and_on_four():
    for one, four in zip(on_mesh(1), on_mesh(4), strict=True):
        np.testing.assert_array_equal(one, four)


def test_a_batch_in_parts_gets_the_numbers_of_the_whole():
    points, colors = (jnp.asarray(x, jnp.float32) for x in random_clouds())
    key = jax.random.key(0)
    draws = draw_augmentation(key, *points.shape[:2], AugmentConfig())
    parts = [
        apply_augmentation(*(jax.tree.map(lambda x, at=at: x[at], (draws, points, colors))))
        for at in (slice(0, 3), slice(3, 8))
    ]
    whole = augment(key, points, colors, AugmentConfig())
    for i in range(2):
        found = np.concatenate([part[i] for part in parts])
        np.testing.assert_allclose(found, whole[i], rtol=0, atol=1e-6)
