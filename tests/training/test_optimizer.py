import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mixcon3d_jax.training.optimizer import (
    OptimizerConfig,
    learning_rate_at,
    make_optimizer,
    trained_mask,
)


def test_warm_up_then_cosine_to_the_floor():
    config = OptimizerConfig(1.0, 0.2, warmup_steps=4, total_steps=14)
    rates = [float(learning_rate_at(config, step)) for step in range(15)]
    np.testing.assert_allclose(rates[:5], [0.25, 0.5, 0.75, 1.0, 1.0], rtol=1e-6)
    assert rates[9] == pytest.approx(0.6)  # half way down
    assert rates[14] == pytest.approx(0.2)
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates[4:]))


def test_no_warm_up_starts_at_the_full_rate():
    config = OptimizerConfig(1.0, 0.0, warmup_steps=0, total_steps=10)
    assert float(learning_rate_at(config, 0)) == pytest.approx(1.0)


def test_first_update_is_the_rate_plus_decoupled_decay():
    """Adam's first step is the sign of the gradient; the decay is added, not mixed into it."""
    config = OptimizerConfig(0.1, 0.1, warmup_steps=0, total_steps=10, weight_decay=0.5)
    optimizer = make_optimizer(config)
    params = {"w": jnp.asarray([2.0, -4.0])}
    updates, _ = optimizer.update({"w": jnp.asarray([3.0, -5.0])}, optimizer.init(params), params)
    new = optax.apply_updates(params, updates)["w"]
    np.testing.assert_allclose(new, [2 - 0.1 - 0.1, -4 + 0.1 + 0.2], rtol=1e-6)


def test_a_schedule_that_lags_starts_with_the_full_rate():
    on_time = OptimizerConfig(1.0, 0.2, warmup_steps=4, total_steps=14)
    late = OptimizerConfig(1.0, 0.2, warmup_steps=4, total_steps=14, lag_steps=1)
    rates = [float(learning_rate_at(late, step)) for step in range(15)]
    assert rates[0] == 1.0
    assert rates[1:] == [float(learning_rate_at(on_time, step)) for step in range(14)]


def test_a_pattern_freezes_whole_paths():
    params = {"fusion": {"kernel": 1, "bias": 2}, "logit_scales": {"fused_text": 3, "x": 4}}
    assert trained_mask(params, "fusion/.*|logit_scales/fused_text") == {
        "fusion": {"kernel": False, "bias": False},
        "logit_scales": {"fused_text": False, "x": True},
    }
    for freezes_nothing in ("", "fusion", "ker.*"):
        assert all(jax.tree.leaves(trained_mask(params, freezes_nothing)))
