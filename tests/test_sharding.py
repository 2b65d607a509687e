import jax
import pytest

from mixcon3d_jax import sharding
from mixcon3d_jax.models.mixcon3d import MixCon3DConfig
from mixcon3d_jax.models.pointbert import SCALINGS
from mixcon3d_jax.models.variables import flatten, model_structure
from mixcon3d_jax.training.optimizer import OptimizerConfig, make_optimizer
from mixcon3d_jax.training.state import abstract_state


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_every_parameter_matches_exactly_one_rule(scaling, head):
    config = MixCon3DConfig(
        SCALINGS[scaling], 1280, share_proj=False, head=head, view_pooling="avg_proj"
    )
    _, params, stats = model_structure(config)
    mesh = sharding.make_mesh(1, 2, 4)
    for path, leaf in (flatten(params) | flatten(stats)).items():
        sharding.spec_of(path, leaf.shape, mesh)  # raises unless exactly one matches


def test_an_unknown_parameter_is_an_error():
    with pytest.raises(ValueError, match=r"encoder/surprise matches 0 rules"):
        sharding.spec_of("encoder/surprise", (3,), sharding.make_mesh(1, 8, 1))


def test_moments_and_averages_live_with_their_parameter():
    optimizer = make_optimizer(OptimizerConfig(1e-3, 0, 1, 10))
    mesh = sharding.make_mesh(1, 2, 4)
    state = abstract_state(MixCon3DConfig(SCALINGS[1], 64), optimizer, mesh)
    adam = state.opt_state[0]
    place = {path: leaf.sharding for path, leaf in flatten(state.params).items()}
    for tree in (state.ema_params, adam.mu, adam.nu):
        assert {path: leaf.sharding for path, leaf in flatten(tree).items()} == place
    sharded = [path for path, at in place.items() if not at.is_fully_replicated]
    assert "encoder/blocks/0/attention/qkv/kernel" in sharded
    large = sum(state_leaf.size for state_leaf in jax.tree.leaves(state.params))
    inside = sum(flatten(state.params)[path].size for path in sharded)
    assert inside / large > 0.98


def test_a_dimension_that_does_not_divide_stays_whole():
    mesh = sharding.make_mesh(1, 2, 4)
    assert sharding.spec_of("text_proj/kernel", (6, 6), mesh) == jax.P(None, None)
    assert sharding.spec_of("text_proj/kernel", (6, 8), mesh) == jax.P(None, "fsdp")


def test_minus_one_takes_the_devices_that_are_left():
    assert dict(sharding.make_mesh(2, -1, 2).shape) == {"replica": 2, "data": 2, "fsdp": 2}


@pytest.mark.parametrize("sizes", [(1, 3, 1), (3, -1, 1), (-1, -1, 1), (1, 4, 1), (0, 8, 1)])
def test_a_mesh_that_does_not_fit_the_devices_says_so(sizes):
    with pytest.raises(sharding.MeshError, match="8 devices"):
        sharding.make_mesh(*sizes)


def test_a_batch_that_does_not_fit_the_mesh_says_so():
    with pytest.raises(sharding.MeshError, match=r"config\.optim\.batch_size is 12.*8 devices"):
        sharding.check_batch(12, sharding.make_mesh(1, -1, 1), "config.optim.batch_size")


class _Chip:
    """As much of a device of a slice as a mesh looks at."""

    platform = device_kind = "TPU v5e"

    def __init__(self, number, per_slice):
        self.id = number
        self.slice_index, inside = divmod(number, per_slice)
        self.process_index = number // 4
        self.coords = (inside % 2, inside // 2, 0)
        self.core_on_chip = 0


def test_slices_are_kept_apart_by_the_replica_axis():
    chips = [_Chip(number, per_slice=8) for number in range(16)]
    mesh = sharding.make_mesh(2, 2, 4, chips)
    for replica in range(2):
        assert {chip.slice_index for chip in mesh.devices[replica].flat} == {replica}
    with pytest.raises(sharding.MeshError, match=r"2 slices, which config\.mesh\.replica=1 is not"):
        sharding.make_mesh(1, 4, 4, chips)
