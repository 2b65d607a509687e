import dataclasses
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mixcon3d_jax.models.batch_norm import BatchNorm
from mixcon3d_jax.models.pointbert import SCALINGS, PointBERT, PointBERTConfig
from mixcon3d_jax.models.variables import parameter_count, split_module

SMALL = PointBERTConfig(32, 2, 1, 48, 24, 12, 0.5, 10)

# Parameters of the original's encoders with a CLIP of 1280.
PARAMETERS = {
    1: 5_100_768,
    2: 13_346_880,
    3: 25_954_368,
    4: 32_326_080,
    5: 72_070_336,
    6: 171_262_144,
}


def clouds(batch=3, points=64, seed=0):
    rng = np.random.default_rng(seed)
    return (
        jnp.asarray(rng.normal(size=(batch, points, 3)) * 0.4, jnp.float32),
        jnp.asarray(rng.random((batch, points, 3)), jnp.float32),
    )


@pytest.mark.parametrize("scaling", SCALINGS)
def test_parameter_counts_are_the_originals(scaling):
    model = nnx.eval_shape(lambda: PointBERT(SCALINGS[scaling], 1280, rngs=nnx.Rngs(0)))
    _, params, _ = split_module(model)
    assert parameter_count(params) == PARAMETERS[scaling]


def test_clouds_of_a_batch_do_not_mix_in_inference():
    model = PointBERT(SMALL, 16, rngs=nnx.Rngs(0))
    points, colors = clouds()
    together = model(points, colors)
    alone = jnp.concatenate([model(points[i : i + 1], colors[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_training_uses_the_batch_and_moves_the_running_statistics():
    model = PointBERT(SMALL, 16, rngs=nnx.Rngs(0))
    points, colors = clouds()
    before = model.set_abstraction.norms[0].mean[...]
    trained = model(points, colors, train=True)
    after = model.set_abstraction.norms[0].mean[...]
    assert np.abs(after - before).max() > 0
    assert np.abs(trained - model(points, colors)).max() > 1e-4
    # Inference does not touch them.
    np.testing.assert_array_equal(after, model.set_abstraction.norms[0].mean[...])


def test_bfloat16_stays_close_and_returns_float32():
    points, colors = clouds()
    exact = PointBERT(SMALL, 16, rngs=nnx.Rngs(0))(points, colors)
    rounded = PointBERT(SMALL, 16, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))(points, colors)
    assert rounded.dtype == jnp.float32
    cosine = jnp.sum(exact * rounded, -1) / (
        jnp.linalg.norm(exact, axis=-1) * jnp.linalg.norm(rounded, axis=-1)
    )
    assert cosine.min() > 0.999


def test_batch_norm_keeps_pytorchs_running_statistics():
    norm = BatchNorm(2)
    x = jnp.asarray([[1.0, 10.0], [3.0, 10.0], [5.0, 40.0]])
    out = norm(x, train=True)
    # Batch mean (3, 20); biased variance (8/3, 200); unbiased (4, 300).
    np.testing.assert_allclose(norm.mean[...], [0.3, 2.0], rtol=1e-6)
    np.testing.assert_allclose(norm.var[...], [0.9 + 0.4, 0.9 + 30.0], rtol=1e-6)
    np.testing.assert_allclose(out[:, 0], (x[:, 0] - 3) / np.sqrt(8 / 3 + 1e-5), rtol=1e-5)
    out = norm(x, train=False)
    np.testing.assert_allclose(out[:, 0], (x[:, 0] - 0.3) / np.sqrt(1.3 + 1e-5), rtol=1e-5)


def test_a_shift_before_a_batch_norm_is_as_if_it_had_been_added():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(6, 5, 2)), jnp.float32)
    shift = jnp.asarray([3.0, -1.0])
    apart, added = BatchNorm(2), BatchNorm(2)
    for train in (True, False, True):
        rows, given = (x.reshape(30, 2), shift) if train else (x, shift)
        found = (apart if train else apart.largest)(rows, given, train=train)
        expected = (added if train else added.largest)(rows + given, train=train)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_allclose(apart.mean[...], added.mean[...], atol=1e-6)
        np.testing.assert_allclose(apart.var[...], added.var[...], atol=1e-5)


@pytest.mark.parametrize("largest", [False, True])
def test_gradients_of_a_batch_norm_are_those_that_jax_finds(largest):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(2.0, 3.0, (6, 5, 4)), jnp.float32)
    x = x.at[:, 1].set(x[:, 0])  # equal members share the gradient of a maximum
    weights = jnp.asarray(rng.normal(size=(6, 4) if largest else (30, 4)), jnp.float32)
    affine = jnp.asarray([[1.5, -0.5, 2.0, 0.3], [0.1, -0.2, 0.3, 0.0]])

    def ours(x, affine):
        norm = BatchNorm(4)
        norm.scale[...], norm.bias[...] = affine
        if largest:
            return (weights * norm.largest(x, train=True)).sum()
        return (weights * norm(x.reshape(30, 4), train=True)).sum()

    def plain(x, affine):
        mean, var = x.mean((0, 1)), x.var((0, 1))
        normalized = affine[0] * (x - mean) / jnp.sqrt(var + 1e-5) + affine[1]
        return (weights * (normalized.max(1) if largest else normalized.reshape(30, 4))).sum()

    np.testing.assert_allclose(ours(x, affine), plain(x, affine), rtol=1e-5)
    for found, expected in zip(
        jax.grad(ours, (0, 1))(x, affine), jax.grad(plain, (0, 1))(x, affine), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("scale", [2.0, -2.0])
def test_the_largest_of_a_group_is_that_of_its_normalised_members(scale):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5, 2)), jnp.float32)
    norm = BatchNorm(2)
    norm.scale[...] = jnp.asarray([1.0, scale])
    for train in (True, False):
        expected = norm(x.reshape(15, 2), train=train).reshape(3, 5, 2).max(axis=1)
        norm.mean[...], norm.var[...] = jnp.zeros(2), jnp.ones(2)
        np.testing.assert_array_equal(norm.largest(x, train=train), expected)
        norm.mean[...], norm.var[...] = jnp.zeros(2), jnp.ones(2)


def test_biases_before_a_batch_norm_have_a_gradient_of_exactly_zero():
    structure, params, stats = split_module(PointBERT(SMALL, 16, rngs=nnx.Rngs(0)))
    points, colors = clouds()

    def loss(params):
        return jnp.square(nnx.merge(structure, params, stats)(points, colors, train=True)).sum()

    grads = jax.grad(loss)(params)
    for conv in grads["set_abstraction"]["convs"].values():
        np.testing.assert_array_equal(conv["bias"], 0)
        assert np.abs(conv["kernel"]).max() > 0


def trained(remat: bool):
    """A function of parameters: what training computes, its gradient, the statistics after it."""
    config = dataclasses.replace(SMALL, depth=3)
    structure, params, stats = split_module(PointBERT(config, 16, remat=remat, rngs=nnx.Rngs(0)))
    points, colors = clouds()

    def loss(params):
        model = nnx.merge(structure, params, stats)
        value = jnp.square(model(points, colors, train=True)).sum()
        return value, split_module(model)[2]

    return loss, params


def test_rematerialisation_changes_no_number():
    plain, again = (
        jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
        for loss, params in (trained(False), trained(True))
    )
    for ours, theirs in zip(jax.tree.leaves(again), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 * np.abs(theirs).max())


def primitives(jaxpr) -> Counter:
    """How often a program calls what, with its inner programs."""
    found = Counter(equation.primitive.name for equation in jaxpr.eqns)
    for equation in jaxpr.eqns:
        for parameter in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns"):
                found += primitives(inner)
    return found


def test_rematerialisation_repeats_the_networks_and_not_the_sampling():
    plain, again = (
        primitives(jax.make_jaxpr(jax.grad(loss, has_aux=True))(params).jaxpr)
        for loss, params in (trained(False), trained(True))
    )
    # The loops of farthest point sampling and of the search in ball query, and the latter's sum.
    assert plain["scan"] == again["scan"] == 2
    assert plain["cumsum"] == again["cumsum"] == 1
    # The GELUs of the three blocks; their softmaxes' maxima and the groups'.
    assert (plain["erfc"], again["erfc"]) == (3, 6)
    assert (plain["reduce_max"], again["reduce_max"]) == (4, 8)


def test_rematerialisation_keeps_less():
    """Bytes from the forward to the backward pass."""
    kept = []
    for loss, params in (trained(False), trained(True)):
        backward = jax.eval_shape(lambda p, loss=loss: jax.vjp(loss, p, has_aux=True)[1], params)
        kept.append(sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(backward)))
    assert kept[1] < kept[0] / 2
