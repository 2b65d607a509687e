"""The real training step, compiled by the real TPU compiler for a slice of eight v5e chips."""

import re

import pytest
from jax.experimental import topologies

from configs import base
from mixcon3d_jax.sharding import make_mesh
from mixcon3d_jax.training import run_config
from mixcon3d_jax.training.optimizer import make_optimizer
from mixcon3d_jax.training.state import abstract_state
from mixcon3d_jax.training.step import abstract_batch, compile_train_step

BATCH = 64
V5E_BYTES = 16 * 2**30


def compiled_step(dtype):
    devices = topologies.get_topology_desc("v5e:2x4", platform="tpu").devices
    mesh = make_mesh(1, 2, 4, list(devices))
    config = base.get_config()
    config.model.dtype = dtype
    step_config = run_config.step_config(config, num_records=10_000)
    state = abstract_state(step_config.model, make_optimizer(step_config.optimizer), mesh)
    size = config.clip.embedding_size
    batch = abstract_batch(BATCH, config.data.num_points, config.data.num_views, size, mesh)
    return compile_train_step(step_config, mesh, state).lower(state, batch)


@pytest.fixture(scope="module")
def bfloat16_step():
    return compiled_step("bfloat16")


def test_mixcon3ds_model_fits_a_chip(bfloat16_step):
    memory = bfloat16_step.compile().memory_analysis()
    used = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    assert 0 < used < V5E_BYTES


def test_products_of_float32_are_true_float32(bfloat16_step):
    """Logits and heads in a bfloat16 run: HIGHEST stands on every product of float32 factors."""
    dots = [
        line
        for line in bfloat16_step.as_text().splitlines()
        if "stablehlo.dot_general" in line
        and re.search(r": \(tensor<[^>]*xf32>, tensor<[^>]*xf32>\)", line)
    ]
    assert dots
    assert [line for line in dots if "HIGHEST" not in line] == []


def test_no_product_of_a_float32_run_is_rounded():
    text = compiled_step("float32").as_text()
    dots = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
    assert dots
    assert [line for line in dots if "HIGHEST" not in line] == []
