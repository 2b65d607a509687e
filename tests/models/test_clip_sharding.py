"""CLIPs whose weights a mesh shares: where they live, what they compute, what loading takes."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import PartitionSpec as P

from benchmarks.clip_loading import make_checkpoint, peaks
from mixcon3d_jax.models.clip import BFLOAT16, Clip
from mixcon3d_jax.models.clip_config import read_config
from mixcon3d_jax.models.clip_variants import VARIANTS
from mixcon3d_jax.models.clip_weights import flat_parameters, load_clip
from mixcon3d_jax.sharding import CLIP_RULES, make_mesh, spec_of


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A CLIP in several files, and the bytes of its weights."""
    folder = tmp_path_factory.mktemp("clip")
    return folder, make_checkpoint(folder, width=512, layers=4)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_parameter_has_one_place(name):
    towers = (VARIANTS[name].vision, VARIANTS[name].text)
    vision, text = (dataclasses.replace(tower, layers=1) for tower in towers)
    config = dataclasses.replace(VARIANTS[name], vision=vision, text=text)
    state = nnx.eval_shape(lambda: nnx.state(Clip(config, rngs=nnx.Rngs(0)), nnx.Param))
    mesh = make_mesh(1, 2, 4)
    for keys, leaf in nnx.to_flat_state(state):
        path = "/".join(map(str, keys))
        spec = spec_of(path, leaf.shape, mesh, CLIP_RULES)
        # No array of a million entries is on every chip.
        assert math.prod(leaf.shape) < 1e6 or spec == P(None, ("data", "fsdp")), path


@pytest.mark.parametrize("sizes", [(1, 2, 4), (2, 4, 1), (8, 1, 1)])
def test_weights_are_the_same_however_they_are_shared(made, sizes):
    folder, config = made[0], read_config(made[0])
    alone = load_clip(folder, config)
    shared = load_clip(folder, config, mesh=make_mesh(*sizes))
    expected = flat_parameters(alone)
    for path, leaf in flat_parameters(shared).items():
        np.testing.assert_array_equal(leaf, expected[path], err_msg=path)
        part = leaf.addressable_shards[0].data.size
        kernel = path.endswith("kernel") or path == "text.token_embedding"
        assert part == leaf.size // (sizes[1] * sizes[2] if kernel else 1), path
    ids = np.full((8, 5), 4095)
    np.testing.assert_allclose(shared.text(ids), alone.text(ids), atol=1e-5)


def test_weights_in_bfloat16(made):
    clip = load_clip(made[0], read_config(made[0]), BFLOAT16, make_mesh(1, 1, 8))
    assert {leaf.dtype for leaf in flat_parameters(clip).values()} == {jnp.dtype("bfloat16")}


def test_no_process_holds_the_whole_model(made):
    folder, size = made
    for processes in (2, 4):
        # Beside its share: the libraries' buffers, and a block of the largest array.
        assert max(peaks(folder, processes)) < size / processes + 24 * 2**20
