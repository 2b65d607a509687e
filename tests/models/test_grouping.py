import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mixcon3d_jax.models.grouping import ball_query, farthest_point_sample, gather_points

# Multiples of 1/8 have exact squared distances in float32: ties and boundaries are really met.
GRID_CLOUDS = hnp.arrays(np.int8, (2, 30, 3), elements=st.integers(-16, 16)).map(
    lambda cloud: cloud.astype(np.float32) / 8
)


def naive_farthest(cloud: np.ndarray, count: int) -> list[int]:
    chosen, nearest = [0], np.full(len(cloud), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, np.square(cloud - cloud[chosen[-1]]).sum(axis=1))
        chosen.append(int(np.argmax(nearest)))
    return chosen


def naive_ball(cloud: np.ndarray, center: np.ndarray, radius: float, count: int) -> list[int]:
    inside = [i for i, p in enumerate(cloud) if np.square(p - center).sum() <= radius**2][:count]
    return inside + [inside[0]] * (count - len(inside))


@settings(deadline=None, max_examples=25)
@given(GRID_CLOUDS)
def test_farthest_point_sample_follows_its_definition(clouds):
    found = farthest_point_sample(jnp.asarray(clouds), 12)
    np.testing.assert_array_equal(found, [naive_farthest(cloud, 12) for cloud in clouds])


@settings(deadline=None, max_examples=25)
@given(GRID_CLOUDS, st.sampled_from([0.125, 0.5, 1.0, 8.0]), st.sampled_from([1, 7, 40]))
def test_ball_query_follows_its_definition(clouds, radius, count):
    centers = clouds[:, [0, 11, 29]]
    found = ball_query(jnp.asarray(clouds), jnp.asarray(centers), radius, count)
    expected = [
        [naive_ball(cloud, center, radius, count) for center in of_cloud]
        for cloud, of_cloud in zip(clouds, centers, strict=True)
    ]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("points", [32, 33, 95, 96, 200])
def test_ball_query_of_clouds_that_fill_their_words_of_32_or_not(points):
    cloud = np.random.default_rng(points).integers(-16, 17, (points, 3)).astype(np.float32) / 8
    found = ball_query(jnp.asarray(cloud)[None], jnp.asarray(cloud)[None], 1.5, 24)[0]
    np.testing.assert_array_equal(found, [naive_ball(cloud, center, 1.5, 24) for center in cloud])


def test_farthest_point_sample_spreads_over_known_corners():
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32)
    crowd = np.random.default_rng(0).uniform(0.4, 0.6, (100, 3)).astype(np.float32)
    cloud = jnp.asarray(np.concatenate([corners, crowd]))[None]
    assert set(np.asarray(farthest_point_sample(cloud, 8))[0].tolist()) == set(range(8))


def test_identical_points_are_a_valid_cloud():
    cloud = jnp.zeros((1, 20, 3))
    index = farthest_point_sample(cloud, 4)
    np.testing.assert_array_equal(index, np.zeros((1, 4)))
    found = ball_query(cloud, gather_points(cloud, index), 0.1, 6)
    np.testing.assert_array_equal(found, np.broadcast_to(np.arange(6), (1, 4, 6)))


@pytest.mark.parametrize("shape", [(2,), (2, 5), (2, 5, 3)])
def test_gather_points_takes_rows_of_the_own_cloud(shape):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 9, 4)).astype(np.float32)
    index = rng.integers(9, size=shape).reshape(2, *shape[1:])
    found = np.asarray(gather_points(jnp.asarray(values), jnp.asarray(index)))
    for cloud in range(2):
        np.testing.assert_array_equal(found[cloud], values[cloud][index[cloud]])
