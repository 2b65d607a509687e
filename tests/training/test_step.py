import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mixcon3d_jax import losses
from mixcon3d_jax.data.augment import AugmentConfig
from mixcon3d_jax.models.mixcon3d import MAX_LOGIT_SCALE, MixCon3DConfig
from mixcon3d_jax.models.pointbert import PointBERTConfig
from mixcon3d_jax.models.variables import flatten
from mixcon3d_jax.sharding import batch_sharding, make_mesh
from mixcon3d_jax.training.optimizer import OptimizerConfig, make_optimizer
from mixcon3d_jax.training.state import abstract_state, initial_state
from mixcon3d_jax.training.step import StepConfig, compile_train_step

CONFIG = StepConfig(
    model=MixCon3DConfig(PointBERTConfig(32, 1, 2, 48, 24, 8, 0.5, 10), embedding_size=16),
    optimizer=OptimizerConfig(1e-3, 0.0, warmup_steps=2, total_steps=10),
    weights=losses.Weights(),
    ema_decay=0.9,
    augment=AugmentConfig(),
    seed=3,
)


def batch(size=16, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "points": (0.4 * rng.normal(size=(size, 40, 3))).astype(np.float32),
        "colors": rng.random((size, 40, 3)).astype(np.float32),
        "view_embeddings": rng.normal(size=(size, 4, 16)).astype(np.float32),
        "text_embedding": rng.normal(size=(size, 16)).astype(np.float32),
        "has_text": np.arange(size) % 5 != 2,
    }


def run(config=CONFIG, sizes=(1, 1, 1), steps=3):
    """The state after some steps on the first devices, and each step's metrics."""
    mesh = make_mesh(*sizes, jax.devices()[: int(np.prod(sizes))])
    state = initial_state(config.model, make_optimizer(config.optimizer), mesh, seed=0)
    step = compile_train_step(config, mesh, state)
    history = []
    for number in range(steps):
        placed = jax.device_put(batch(seed=number), batch_sharding(mesh))
        state, metrics = step(state, placed)
        history.append(jax.device_get(metrics))
    return state, history


@pytest.fixture(scope="module")
def one_device():
    return run()


@pytest.mark.parametrize("sizes", [(1, 4, 1), (2, 1, 2)])
def test_a_mesh_computes_what_one_device_computes(one_device, sizes):
    """Losses, global BatchNorm, augmentation, moments and EMA don't depend on the mesh."""
    state, history = run(sizes=sizes)
    for ours, theirs in zip(history, one_device[1], strict=True):
        for name, value in theirs.items():
            np.testing.assert_allclose(ours[name], value, rtol=1e-4, err_msg=name)
    for tree in ("params", "stats", "ema_params", "ema_stats"):
        expected = flatten(getattr(one_device[0], tree))
        for path, leaf in flatten(getattr(state, tree)).items():
            # Adam's first steps are signs, which rounding flips where a gradient is about zero.
            np.testing.assert_allclose(leaf, expected[path], atol=2e-4, err_msg=path)


def test_the_same_run_twice_is_equal_bit_for_bit(one_device):
    state, _ = run()
    for ours, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(one_device[0]), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_average_follows_its_formula():
    """After one step: decay x old + (1 - decay) x new, running statistics included."""
    config = dataclasses.replace(CONFIG, ema_decay=0.75)
    mesh = make_mesh(1, 1, 1, jax.devices()[:1])
    before = initial_state(config.model, make_optimizer(config.optimizer), mesh, seed=0)
    before = jax.device_get(before)
    after, _ = run(config, steps=1)
    for plain, average in (("params", "ema_params"), ("stats", "ema_stats")):
        old, new = flatten(getattr(before, plain)), flatten(getattr(after, plain))
        for path, leaf in flatten(getattr(after, average)).items():
            np.testing.assert_allclose(leaf, 0.75 * old[path] + 0.25 * new[path], rtol=1e-5)
    assert not np.array_equal(
        flatten(before.stats)["encoder/set_abstraction/norms/0/mean"],
        flatten(after.stats)["encoder/set_abstraction/norms/0/mean"],
    )


def test_augmentation_differs_from_step_to_step_and_from_none():
    same_batch = dataclasses.replace(CONFIG, optimizer=OptimizerConfig(0.0, 0.0, 0, 10))
    mesh = make_mesh(1, 1, 1, jax.devices()[:1])
    state = initial_state(same_batch.model, make_optimizer(same_batch.optimizer), mesh, seed=0)
    step = compile_train_step(same_batch, mesh, state)
    seen = []
    for _ in range(2):
        state, metrics = step(state, jax.device_put(batch(), batch_sharding(mesh)))
        seen.append(float(metrics["point_text_loss"]))
    plain = run(dataclasses.replace(same_batch, augment=None), steps=1)[1][0]["point_text_loss"]
    assert len({*seen, float(plain)}) == 3


def test_temperatures_are_clamped():
    config = dataclasses.replace(CONFIG, optimizer=OptimizerConfig(5.0, 5.0, 0, 10))
    state, _ = run(config, steps=2)
    for path, scale in flatten(state.params["logit_scales"]).items():
        assert 0.0 <= float(scale) <= np.float32(MAX_LOGIT_SCALE), path


def test_a_compiled_step_keeps_the_shardings_of_the_state():
    mesh = make_mesh(1, 2, 2, jax.devices()[:4])
    abstract = abstract_state(CONFIG.model, make_optimizer(CONFIG.optimizer), mesh)
    state, _ = run(sizes=(1, 2, 2), steps=1)
    for ours, expected in zip(jax.tree.leaves(state), jax.tree.leaves(abstract), strict=True):
        assert ours.sharding.is_equivalent_to(expected.sharding, ours.ndim)
        assert ours.dtype == expected.dtype
    assert state.step.dtype == jnp.int32


def test_frozen_parameters_stay_as_they_are():
    """Neither gradients nor weight decay move them, and everything else moves."""
    frozen = "fusion/.*|logit_scales/fused_text"
    state, _ = run(dataclasses.replace(CONFIG, frozen=frozen))
    before = flatten(run(steps=0)[0].params)
    for path, array in flatten(state.params).items():
        moved = not np.array_equal(array, before[path])
        # Nothing moves a bias that a BatchNorm cancels, but the decay.
        assert moved == (not path.startswith("fusion/") and path != "logit_scales/fused_text"), path


def test_only_clamped_temperatures_are_clamped():
    def after_a_step(clamped):
        mesh = make_mesh(1, 1, 1, jax.devices()[:1])
        config = dataclasses.replace(CONFIG, clamped=clamped)
        state = initial_state(config.model, make_optimizer(config.optimizer), mesh, seed=0)
        high = {name: scale + 10 for name, scale in state.params["logit_scales"].items()}
        state = state.replace(params={**state.params, "logit_scales": high})
        step = compile_train_step(config, mesh, state)
        state, _ = step(state, jax.device_put(batch(), batch_sharding(mesh)))
        return {name: float(scale) for name, scale in state.params["logit_scales"].items()}

    assert set(after_a_step(".*").values()) == {np.float32(MAX_LOGIT_SCALE)}
    released = after_a_step("point_.*")
    for name, scale in released.items():
        assert (scale == np.float32(MAX_LOGIT_SCALE)) == name.startswith("point_")
