"""Stored clouds become what the encoder takes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mixcon3d_jax.data.clouds import normalize_clouds, unpack_clouds
from mixcon3d_jax.data.fixed_point import encode_points


def normalized(cloud) -> np.ndarray:
    return np.asarray(normalize_clouds(jnp.asarray(cloud, jnp.float32)[None])[0])


@settings(deadline=None)
@given(
    points=hnp.arrays(np.float32, (7, 3), elements=st.integers(-100, 100)),
    scale=st.floats(1e-3, 1e3),
    shift=hnp.arrays(np.float32, 3, elements=st.integers(-100, 100)),
)
def test_normalized_clouds_have_mean_0_and_largest_norm_1(points, scale, shift):
    found = normalized((points * scale).astype(np.float32))
    assert found.dtype == np.float32
    if np.ptp(points, axis=0).max() == 0:
        assert np.abs(found).max() <= 1 + 1e-5
        return
    np.testing.assert_allclose(np.linalg.norm(found, axis=1).max(), 1, rtol=1e-5)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(normalized(points + shift), normalized(points), atol=1e-4)


@pytest.mark.parametrize("cloud", [np.full((1, 3), 7), np.full((9, 3), -2), np.full((4, 3), 1e-8)])
def test_one_place_is_all_zeros(cloud):
    np.testing.assert_array_equal(normalized(cloud), 0)


def test_clouds_of_a_batch_do_not_touch_each_other():
    batch = np.random.default_rng(0).normal(size=(3, 20, 3)).astype(np.float32)
    batch *= np.array([1, 10, 100])[:, None, None]
    alone = np.stack([normalized(cloud) for cloud in batch])
    np.testing.assert_allclose(normalize_clouds(jnp.asarray(batch)), alone, atol=1e-6)


def test_stored_clouds_are_exchanged_normalized_and_brought_to_0_1():
    # Symmetric about the origin and of norm at most 1, so that normalising changes nothing.
    half = np.array([[1, 0, 0], [0, 0.5, 0], [0, 0, 0.25], [0.1, 0.2, 0.3]])
    cloud = np.concatenate([half, -half])
    fixed, _, _ = encode_points(cloud)
    stored_colors = np.tile(np.uint8([[0, 51, 255]]), (8, 1))
    points, colors = jax.jit(unpack_clouds)(fixed[None], stored_colors[None])
    assert points.dtype == colors.dtype == jnp.float32
    # Stored to 1/65535 of an extent of 2.
    np.testing.assert_allclose(points[0], cloud[:, [0, 2, 1]], atol=1e-4)
    np.testing.assert_allclose(colors[0], [[0, 0.2, 1]] * 8, rtol=1e-7)


def test_clouds_of_floats_are_ready():
    points, colors = jnp.ones((1, 4, 3)), jnp.full((1, 4, 3), 0.4)
    found = unpack_clouds(points, colors)
    assert found[0] is points
    assert found[1] is colors
