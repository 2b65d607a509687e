"""The ring says what the gathered loss says, and never holds more than a block of logits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import PartitionSpec as P

from mixcon3d_jax import losses
from mixcon3d_jax.models.mixcon3d import TEMPERATURES
from mixcon3d_jax.sharding import MESH_AXES, make_mesh

NAMES = ("point", "image", "text", "fused")
SCALES = {name: jnp.float32(1.0 + 0.9 * i) for i, name in enumerate(TEMPERATURES)}

# Mesh (none: not in a `shard_map`), rows a device, and the block: whole, a divisor, none.
SETTINGS = (
    (None, 12, 1024),
    (None, 12, 5),
    ((1, 1, 1), 12, 3),
    ((1, 2, 2), 3, 2),
    ((2, 2, 2), 1, 8),
)


@functools.lru_cache
def value_and_grads(sizes, negatives, logit_block):
    """A compiled function of embeddings, temperatures and `has_text`."""
    terms = functools.partial(losses.mixcon3d_terms, negatives=negatives, logit_block=logit_block)
    if sizes is not None:
        terms = jax.shard_map(
            functools.partial(terms, axis_names=MESH_AXES),
            mesh=make_mesh(*sizes, jax.devices()[: int(np.prod(sizes))]),
            in_specs=(P(MESH_AXES), P(), P(MESH_AXES)),
            out_specs=P(),
        )

    def total(embeddings, scales, has_text):
        found = terms(embeddings, scales, has_text)
        return losses.total_loss(found, losses.Weights(1.0, 0.7, 0.4, 1.3)), found

    return jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))


def assert_ring_equals_plain(setting, embeddings, has_text):
    """Losses, accuracies, gradients of embeddings and temperatures."""
    sizes, _, block = setting
    arguments = (embeddings, SCALES, has_text)
    (_, found), found_grads = value_and_grads(sizes, "ring", block)(*arguments)
    (_, expected), expected_grads = value_and_grads(None, "gather", 0)(*arguments)
    for term in TEMPERATURES:
        # Logits go up to 40: of losses and gradients of about zero, rounding is left.
        np.testing.assert_allclose(
            found[term]["loss"], expected[term]["loss"], rtol=1e-5, atol=1e-5, err_msg=term
        )
        np.testing.assert_allclose(found[term]["accuracy"], expected[term]["accuracy"], rtol=1e-6)
    for ours, theirs in zip(
        jax.tree.leaves(found_grads), jax.tree.leaves(expected_grads), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * max(1.0, np.abs(theirs).max()))
        assert np.isfinite(ours).all()


@settings(deadline=None, max_examples=25)
@given(data=st.data(), setting=st.sampled_from(SETTINGS), seed=st.integers(0, 2**32 - 1))
def test_the_ring_is_the_plain_loss(data, setting, seed):
    """Any masks, on any mesh; pairs belong together, so that some answers are right."""
    sizes, local, _ = setting
    batch = local * int(np.prod(sizes or 1))
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(batch, 6))
    embeddings = {
        name: jnp.asarray(common + 0.7 * rng.normal(size=(batch, 6)), jnp.float32) for name in NAMES
    }
    has_text = data.draw(st.lists(st.booleans(), min_size=batch, max_size=batch))
    assert_ring_equals_plain(setting, embeddings, jnp.asarray(has_text))


@settings(deadline=None, max_examples=25)
@given(data=st.data(), setting=st.sampled_from(SETTINGS))
def test_of_equal_logits_the_first_counts(data, setting):
    """Rows are axes, their opposites or zero: cosines are -1, 0 or 1, exactly and often."""
    sizes, local, _ = setting
    batch = local * int(np.prod(sizes or 1))
    axes = np.concatenate([np.eye(6)[:3], -np.eye(6)[:3], np.zeros((1, 6))]).astype(np.float32)
    rows = st.lists(st.integers(0, 6), min_size=batch, max_size=batch)
    embeddings = {name: jnp.asarray(axes[data.draw(rows)]) for name in NAMES}
    has_text = data.draw(st.lists(st.booleans(), min_size=batch, max_size=batch))
    assert_ring_equals_plain(setting, embeddings, jnp.asarray(has_text))


@pytest.mark.parametrize("sizes", [None, (1, 8, 1)])
def test_the_ring_is_the_plain_loss_at_4096(sizes):
    rng = np.random.default_rng(0)
    common = rng.normal(size=(4096, 64))
    embeddings = {
        name: jnp.asarray(common + rng.normal(size=(4096, 64)), jnp.float32) for name in NAMES
    }
    has_text = jnp.arange(4096) % 7 != 3
    (value, found), grads = value_and_grads(sizes, "ring", 512)(embeddings, SCALES, has_text)
    (expected_value, expected), expected_grads = value_and_grads((1, 8, 1), "gather", 0)(
        embeddings, SCALES, has_text
    )
    np.testing.assert_allclose(value, expected_value, rtol=1e-5)
    assert 0.1 < expected["point_text"]["accuracy"] < 0.9
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), found, expected)
    for ours, theirs in zip(jax.tree.leaves(grads), jax.tree.leaves(expected_grads), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


def sizes_on_a_device(jaxpr, inside=False) -> list[int]:
    """Numbers of entries of all that is computed inside of `shard_map`s."""
    found = []
    for equation in jaxpr.eqns:
        if inside:
            found += [variable.aval.size for variable in equation.outvars]
        on_device = inside or equation.primitive.name == "shard_map"
        for parameter in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns"):
                found += sizes_on_a_device(inner, on_device)
    return found


def largest_on_a_device(negatives, logit_block):
    """The largest array of a device, forward and backward: 8 devices with 32 rows of 4 each."""
    batch = {name: jnp.zeros((256, 4)) for name in NAMES}
    traced = value_and_grads((1, 8, 1), negatives, logit_block).trace(
        batch, SCALES, jnp.ones(256, bool)
    )
    return max(sizes_on_a_device(traced.jaxpr.jaxpr))


def test_a_device_holds_a_block_of_logits_at_most():
    assert largest_on_a_device("gather", 0) == 32 * 256
    assert largest_on_a_device("ring", 32) == 32 * 32
    # The queries of three terms are more than a block of logits, then.
    assert largest_on_a_device("ring", 8) == 3 * 32 * 4


@pytest.mark.parametrize("negatives", ["ring", "gather"])
def test_a_devices_memory_does_not_grow_with_the_devices(negatives):
    """... when the batch grows with them; the gathered loss shows that the test can tell."""

    def temporaries(devices):
        rows = jax.ShapeDtypeStruct((64 * devices, 16), jnp.float32)
        has_text = jax.ShapeDtypeStruct((64 * devices,), jnp.bool_)
        step = value_and_grads((1, devices, 1), negatives, 16)
        compiled = step.lower(dict.fromkeys(NAMES, rows), SCALES, has_text).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    growth = temporaries(8) / temporaries(2)
    assert growth < 1.1 if negatives == "ring" else growth > 2
