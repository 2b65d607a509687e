"""Layers whose gradients are written out, against those that JAX finds for the plain formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcon3d_jax.models.layers import LAYER_NORM_EPSILON, LayerNorm, product


def close(found, expected):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        scale = np.abs(other).max() + 1e-6
        np.testing.assert_allclose(one / scale, other / scale, atol=2e-5)


def plain_layer_norm(x, scale, bias):
    centered = x - x.mean(-1, keepdims=True)
    variance = jnp.square(centered).mean(-1, keepdims=True)
    return centered / jnp.sqrt(variance + LAYER_NORM_EPSILON) * scale + bias


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), st.floats(-50, 50), st.sampled_from([(3, 5), (2, 3, 8), (7, 33)]))
def test_layer_norm_and_its_gradient(seed, mean, shape):
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=shape) + mean).astype(np.float32)
    scale, bias = rng.normal(size=(2, shape[-1])).astype(np.float32)
    slope = rng.normal(size=shape).astype(np.float32)

    def own(x, scale, bias):
        layer = LayerNorm(shape[-1])
        layer.scale[...], layer.bias[...] = scale, bias
        return layer(x)

    found, pull_back = jax.vjp(own, x, scale, bias)
    expected, expected_pull_back = jax.vjp(plain_layer_norm, x, scale, bias)
    np.testing.assert_allclose(found, expected, atol=1e-4 * (1 + abs(mean)))
    # Rounding of the mean is a part of the variance of every value.
    for one, other in zip(pull_back(slope), expected_pull_back(slope), strict=True):
        scale = np.abs(other).max() + 1e-6
        np.testing.assert_allclose(one / scale, other / scale, atol=2e-4 * (1 + abs(mean)))


def test_layer_norm_in_bfloat16_has_float32_statistics():
    x = (100 + np.random.default_rng(0).normal(size=(4, 64))).astype(np.float32)
    found = LayerNorm(64, dtype=jnp.bfloat16)(x)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found, plain_layer_norm(x, 1.0, 0.0), atol=0.02)


# Narrow, one block and several blocks wide, and a width that no blocks fill.
@pytest.mark.parametrize("width", [9, 512, 1024, 700])
@pytest.mark.parametrize("rows", [(6,), (2, 3)])
def test_products_and_their_gradients(width, rows):
    rng = np.random.default_rng(width)
    x = rng.normal(size=(*rows, width)).astype(np.float32)
    kernel = rng.normal(size=(width, 5)).astype(np.float32)
    slope = rng.normal(size=(*rows, 5)).astype(np.float32)
    found, pull_back = jax.vjp(lambda x, kernel: product(x, kernel, jnp.float32), x, kernel)
    expected, expected_pull_back = jax.vjp(
        lambda x, kernel: jnp.matmul(x, kernel, precision="highest"), x, kernel
    )
    close(found, expected)
    close(pull_back(slope), expected_pull_back(slope))


def test_bfloat16_products_sum_the_gradient_of_the_kernel_in_float32():
    x = np.ones((4096, 2), np.float32)
    _, pull_back = jax.vjp(lambda kernel: product(x, kernel, jnp.bfloat16), np.ones((2, 1), "f4"))
    (slope,) = pull_back(jnp.full((4096, 1), 1.0, jnp.bfloat16))
    assert slope.dtype == jnp.float32
    np.testing.assert_array_equal(slope, np.full((2, 1), 4096.0))
