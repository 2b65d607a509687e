"""Micro-batches give the gradient of the whole batch; BatchNorm sees them one by one."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mixcon3d_jax import losses
from mixcon3d_jax.models.variables import flatten, model_structure, split_module
from mixcon3d_jax.sharding import batch_sharding, make_mesh, state_shardings
from mixcon3d_jax.training.optimizer import make_optimizer
from mixcon3d_jax.training.state import abstract_state, initial_state
from mixcon3d_jax.training.step import batch_gradients, compile_train_step, embed_batch
from tests.training.test_step import CONFIG, batch

FROZEN = dataclasses.replace(CONFIG, frozen_statistics=True)
PATCHES = CONFIG.model.encoder.patches


@functools.lru_cache
def initial():
    """The state that all start from, on the host."""
    mesh = make_mesh(1, 1, 1, jax.devices()[:1])
    state = initial_state(CONFIG.model, make_optimizer(CONFIG.optimizer), mesh, seed=0)
    # Statistics that are not those of an untrained model: means of 0 hide mistakes.
    stats = jax.tree.map(lambda x: x + 0.1, state.stats)
    return jax.device_get(state.replace(stats=stats))


def gradients(config, sizes=(1, 1, 1), size=16):
    """Of one batch on a mesh."""
    mesh = make_mesh(*sizes, jax.devices()[: int(np.prod(sizes))])
    state = jax.device_put(initial(), state_shardings(initial(), mesh))
    structure, _, _ = model_structure(config.model)
    find = functools.partial(batch_gradients, structure=structure, config=config, mesh=mesh)
    placed = jax.device_put(batch(size), batch_sharding(mesh))
    return jax.device_get(jax.jit(find)(state, placed))


def assert_close(found, expected, tolerance=1e-5):
    """Each array up to `tolerance` of its largest entry."""
    found, expected = flatten(found), flatten(expected)
    assert found.keys() == expected.keys()
    for path, array in expected.items():
        atol = tolerance * np.abs(array).max()
        np.testing.assert_allclose(found[path], array, rtol=0, atol=atol, err_msg=path)


@pytest.fixture(scope="module")
def whole():
    """The batch in one go, on one device."""
    return gradients(FROZEN)


@pytest.mark.parametrize(
    ("sizes", "accum_steps", "negatives"),
    [
        ((1, 1, 1), 4, "ring"),
        ((1, 4, 1), 2, "gather"),
        ((1, 2, 2), 2, "ring"),
        ((1, 2, 2), 4, "gather"),
    ],
)
def test_micro_batches_give_the_gradient_of_the_whole_batch(whole, sizes, accum_steps, negatives):
    """Augmentation, temperatures, accuracies and all."""
    config = dataclasses.replace(
        FROZEN, accum_steps=accum_steps, negatives=negatives, logit_block=2
    )
    found = gradients(config, sizes)
    np.testing.assert_allclose(found.loss, whole.loss, rtol=1e-5)
    assert_close(found.terms, whole.terms)
    assert_close(found.grads, whole.grads)
    for path, grad in flatten(whole.grads).items():
        assert np.abs(grad).max() > 0, path


def test_frozen_statistics_stay_as_they_are(whole):
    """Bit for bit, also with micro-batches of a number that floats are not divided by exactly."""
    in_thirds = gradients(dataclasses.replace(FROZEN, accum_steps=3), size=15)
    for found in (whole, in_thirds):
        jax.tree.map(np.testing.assert_array_equal, found.stats, initial().stats)


def test_batch_norm_sees_micro_batches_of_all_devices():
    """Against a plain program that normalises rows 0-3 and 8-11 together, and the rest."""
    config = dataclasses.replace(CONFIG, augment=None, accum_steps=2)
    found = gradients(config, sizes=(1, 2, 1))
    structure, _, _ = model_structure(config.model)
    stats = jax.tree.map(jnp.asarray, initial().stats)
    rows = batch()
    # Two devices, two micro-batches: each has a quarter of the rows of either device.
    micro = np.arange(16).reshape(2, 2, 4).swapaxes(0, 1).reshape(2, 8)

    @functools.partial(jax.value_and_grad, has_aux=True)
    def objective(params):
        embeddings, after = [], []
        for index in micro:
            model = nnx.merge(structure, params, stats)
            part = {name: array[index] for name, array in rows.items()}
            embeddings.append(embed_batch(model, part, train=True))
            after.append(split_module(model)[2])
        joined = jax.tree.map(lambda *parts: jnp.concatenate(parts), *embeddings)
        has_text = jnp.asarray(rows["has_text"][micro.ravel()])
        terms = losses.mixcon3d_terms(joined, params["logit_scales"], has_text)
        return losses.total_loss(terms, config.weights), after

    (loss, after), grads = jax.jit(objective)(initial().params)
    np.testing.assert_allclose(found.loss, loss, rtol=1e-5)
    assert_close(found.grads, grads, tolerance=1e-4)
    # Once a step, with the mean of the micro-batches' statistics.
    assert_close(found.stats, jax.tree.map(lambda *each: np.mean(each, axis=0), *after))
    mean = "encoder/set_abstraction/norms/0/mean"
    first, second = (flatten(each)[mean] for each in after)
    assert np.abs(first - second).max() > 1e-4


def sampling_loops(jaxpr):
    """How many loops over the groups' centers there are in it and everything inside."""
    return sum(
        (equation.primitive.name == "scan" and equation.params["length"] == PATCHES)
        + sum(map(sampling_loops, inner_jaxprs(equation)))
        for equation in jaxpr.eqns
    )


def inner_jaxprs(equation):
    values = jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns"))
    return [inner for value in values if hasattr(inner := getattr(value, "jaxpr", value), "eqns")]


def loops(jaxpr, length):
    """All loops of so many rounds, in the order in which they run."""
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive.name == "scan" and equation.params["length"] == length:
            found.append(equation)
        else:
            found += [loop for inner in inner_jaxprs(equation) for loop in loops(inner, length)]
    return found


def step_jaxpr(config):
    mesh = make_mesh(1, 2, 1, jax.devices()[:2])
    state = abstract_state(config.model, make_optimizer(config.optimizer), mesh)
    step = compile_train_step(config, mesh, state)
    return jax.make_jaxpr(step)(state, batch()).jaxpr


@pytest.mark.parametrize("accum_steps", [1, 4])
@pytest.mark.parametrize("remat", [False, True])
def test_a_step_samples_and_groups_each_cloud_once(accum_steps, remat):
    """The second pass over the micro-batches takes the groups from the first, in two bytes each."""
    model = dataclasses.replace(CONFIG.model, remat=remat)
    jaxpr = step_jaxpr(dataclasses.replace(CONFIG, model=model, accum_steps=accum_steps))
    assert sampling_loops(jaxpr) == 1
    if accum_steps > 1:
        first, _ = loops(jaxpr, accum_steps)
        assert sum(map(sampling_loops, inner_jaxprs(first))) == 1
        kept = {
            (var.aval.shape, var.aval.dtype.name)
            for var in first.outvars
            if var.aval.dtype.kind in "iu"
        }
        neighbors = CONFIG.model.encoder.neighbors
        assert kept == {
            ((accum_steps, 16 // accum_steps, PATCHES), "uint16"),
            ((accum_steps, 16 // accum_steps, PATCHES, neighbors), "uint16"),
        }
