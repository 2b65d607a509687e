"""Unit vectors; linear layers and batch statistics are compared with PyTorch in tests/parity."""

import jax
import jax.numpy as jnp
import numpy as np

from mixcon3d_jax.models.layers import normalize


def test_normalize_gives_length_one_in_float32_and_keeps_zeros():
    x = normalize(jnp.array([[3.0, 4.0], [0.0, 0.0], [1e-5, 0.0]], jnp.bfloat16))
    assert x.dtype == jnp.float32
    np.testing.assert_allclose(x, [[0.6, 0.8], [0, 0], [1, 0]], rtol=1e-6)


def test_vectors_shorter_than_the_floor_are_divided_by_it():
    np.testing.assert_allclose(normalize(jnp.array([[5e-13, 0.0]])), [[0.5, 0.0]], rtol=1e-6)


def test_the_gradient_is_finite_at_zero():
    gradient = jax.grad(lambda x: normalize(x)[0, 0])(jnp.zeros((1, 3)))
    np.testing.assert_allclose(gradient, [[1e12, 0, 0]], rtol=1e-6)
