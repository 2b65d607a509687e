import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixcon3d_jax.assets.asset import Texture
from mixcon3d_jax.assets.color import (
    bytes_to_linear,
    linear_to_bytes,
    srgb_to_linear,
    texel,
    to_bytes,
)


def test_all_bytes_survive_the_way_through_linear_light():
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(linear_to_bytes(bytes_to_linear(every)), every)


def test_the_curve_at_points_of_the_standard():
    np.testing.assert_allclose(srgb_to_linear(np.array([0, 0.04045, 0.5, 1])),
                               [0, 0.0031308, 0.2140411, 1], atol=1e-6)  # fmt: skip


def test_light_beyond_white_is_white():
    assert linear_to_bytes(np.array([-1.0, 2.0])).tolist() == [0, 255]


@pytest.mark.parametrize(
    ("colors", "expected"),
    [
        (np.uint8([0, 1, 255]), [0, 1, 255]),
        (np.array([0, 1, 255]), [0, 1, 255]),
        (np.array([0.0, 0.5, 1.0]), [0, 128, 255]),
        (np.array([0.0, 1.0, 255.0]), [0, 1, 255]),
    ],
)
def test_what_colors_in_files_mean(colors, expected):
    assert to_bytes(colors).tolist() == expected


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.sampled_from(["repeat", "mirror", "clamp"]))
def test_every_texture_coordinate_has_a_texel(u, v, wrap):
    texture = Texture(np.arange(18, dtype=np.uint8).reshape(2, 3, 3), (wrap, wrap))
    row, column = texel(texture, np.array([[u, v]]))
    assert 0 <= row[0] < 2
    assert 0 <= column[0] < 3


@given(st.integers(-5, 5), st.integers(0, 2))
def test_repeating_textures_repeat(whole, column):
    texture = Texture(np.arange(9, dtype=np.uint8).reshape(1, 3, 3))
    uv = np.array([[whole + (column + 0.5) / 3, 0.5]])
    assert texel(texture, uv)[1] == column
