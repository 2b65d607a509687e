import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from mixcon3d_jax import losses
from mixcon3d_jax.models.mixcon3d import TEMPERATURES
from mixcon3d_jax.sharding import MESH_AXES, make_mesh


def random_embeddings(batch=8, size=6, seed=0):
    rng = np.random.default_rng(seed)
    names = ("point", "image", "text", "fused")
    return {name: jnp.asarray(rng.normal(size=(batch, size)), jnp.float32) for name in names}


SCALES = {name: jnp.float32(1.0 + 0.3 * i) for i, name in enumerate(TEMPERATURES)}


def test_two_orthogonal_pairs_have_the_loss_worked_out_by_hand():
    # Logits are [[s, 0], [0, s]] with s = e^0 = 1: each row's cross-entropy is ln(1 + e^-1).
    unit = jnp.eye(2)
    sums = losses.contrastive_sums(unit, unit, jnp.float32(0.0), jnp.ones(2, bool))
    assert float(sums["loss"]) == pytest.approx(2 * np.log(1 + np.exp(-1)), rel=1e-6)
    assert float(sums["correct"]) == 2
    assert float(sums["count"]) == 2


def test_swapped_pairs_are_wrong_in_both_directions():
    sums = losses.contrastive_sums(
        jnp.eye(2), jnp.eye(2)[::-1], jnp.float32(0.0), jnp.ones(2, bool)
    )
    assert float(sums["correct"]) == 0
    assert float(sums["loss"]) == pytest.approx(2 * np.log(1 + np.exp(1)), rel=1e-6)


def test_rows_without_text_are_neither_queries_nor_negatives():
    embeddings = random_embeddings()
    has_text = jnp.asarray([True, False, True, True, False, True, True, True])
    masked = losses.mixcon3d_terms(embeddings, SCALES, has_text)
    kept = {name: x[has_text] for name, x in embeddings.items()}
    alone = losses.mixcon3d_terms(kept, SCALES, jnp.ones(6, bool))
    everything = losses.mixcon3d_terms(embeddings, SCALES, jnp.ones(8, bool))
    for term in TEMPERATURES:
        expected = alone if term.endswith("text") else everything
        for figure in ("loss", "accuracy"):
            np.testing.assert_allclose(masked[term][figure], expected[term][figure], rtol=1e-5)


def test_rows_without_text_get_no_gradient_from_text():
    embeddings = random_embeddings()
    has_text = jnp.arange(8) % 4 != 1

    def loss(text):
        terms = losses.mixcon3d_terms(embeddings | {"text": text}, SCALES, has_text)
        return losses.total_loss(terms, losses.Weights())

    grad = jax.grad(loss)(embeddings["text"])
    np.testing.assert_array_equal(grad[~has_text], 0)
    assert np.abs(grad[has_text]).min() > 0


@pytest.mark.parametrize("has_text", [False, True])
def test_degenerate_batches_stay_finite(has_text):
    """Nobody has a text; all embeddings are zero."""
    embeddings = {name: 0 * x for name, x in random_embeddings().items()}

    def loss(embeddings):
        terms = losses.mixcon3d_terms(embeddings, SCALES, jnp.full(8, has_text))
        return losses.total_loss(terms, losses.Weights())

    value, grads = jax.value_and_grad(loss)(embeddings)
    assert np.isfinite(value)
    for grad in grads.values():
        assert np.isfinite(grad).all()


@pytest.mark.parametrize("sizes", [(1, 8, 1), (2, 2, 2)])
def test_global_negatives_over_a_mesh_equal_one_device(sizes):
    embeddings = random_embeddings(batch=16)
    has_text = jnp.arange(16) % 5 != 3

    def total(terms_fn, embeddings, scales):
        return losses.total_loss(terms_fn(embeddings, scales, has_text), losses.Weights())

    over_mesh = jax.shard_map(
        functools.partial(losses.mixcon3d_terms, axis_names=MESH_AXES),
        mesh=make_mesh(*sizes),
        in_specs=(P(MESH_AXES), P(), P(MESH_AXES)),
        out_specs=P(),
    )
    found, found_grads = jax.jit(
        jax.value_and_grad(functools.partial(total, over_mesh), argnums=(0, 1))
    )(embeddings, SCALES)
    expected, expected_grads = jax.value_and_grad(
        functools.partial(total, losses.mixcon3d_terms), argnums=(0, 1)
    )(embeddings, SCALES)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    for ours, theirs in zip(
        jax.tree.leaves(found_grads), jax.tree.leaves(expected_grads), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_weights_multiply_their_terms():
    terms = {name: {"loss": jnp.float32(10.0**i)} for i, name in enumerate(TEMPERATURES)}
    weights = losses.Weights(point_text=1, point_image=2, image_text=3, fused_text=4)
    assert float(losses.total_loss(terms, weights)) == 1 + 20 + 300 + 4000
