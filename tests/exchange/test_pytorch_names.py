"""Every weight of the original has one place here, with the right shape."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from mixcon3d_jax.errors import InputError
from mixcon3d_jax.exchange.pytorch_names import (
    WeightsError,
    array_from_pytorch,
    from_pytorch,
    in_pytorch_order,
    shape_to_pytorch,
    to_pytorch,
    tree_from_pytorch,
    tree_to_pytorch,
)
from mixcon3d_jax.models.mixcon3d import MixCon3DConfig
from mixcon3d_jax.models.pointbert import SCALINGS, PointBERTConfig
from mixcon3d_jax.models.variables import flatten, model_structure, unflatten_like

SIZE = 1280
FACTS = Path(__file__).resolve().parents[3] / "shared" / "facts"
TEMPERATURES = (
    "image_logit_scale",
    "text_logit_scale",
    "img_text_logit_scale",
    "pc_img_to_text_logit_scale",
)
BLOCK = "ppat.transformer.layers"
TINY = PointBERTConfig(10, 2, 3, 14, 11, 5, 0.4, 6)


def dense(name: str, inputs: int, outputs: int, kernel: int = 0) -> dict[str, tuple[int, ...]]:
    """A layer's names and shapes; `kernel` counts the trailing axes of a 1x1 convolution."""
    return {f"{name}.weight": (outputs, inputs, *[1] * kernel), f"{name}.bias": (outputs,)}


def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def encoder_shapes(config: PointBERTConfig, size: int) -> dict[str, tuple[int, ...]]:
    """PyTorch names and shapes of the original's encoder, in the order of its modules."""
    dim, inner = config.dim, config.heads * 64
    shapes = {"ppat.cls_token": (dim,)}
    widths = (9, 64, 64, config.sa_dim)
    for i in range(3):
        shapes |= dense(f"ppat.sa.mlp_convs.{i}", widths[i], widths[i + 1], kernel=2)
    for i in range(3):
        bn, width = f"ppat.sa.mlp_bns.{i}", widths[i + 1]
        shapes |= norm(bn, width) | {f"{bn}.running_mean": (width,), f"{bn}.running_var": (width,)}
        shapes[f"{bn}.num_batches_tracked"] = ()
    shapes |= dense("ppat.lift.0", 3 + config.sa_dim, dim, kernel=1) | norm("ppat.lift.2", dim)
    for i in range(config.depth):
        block = f"{BLOCK}.{i}"
        shapes |= norm(f"{block}.0.norm", dim)
        shapes[f"{block}.0.fn.to_qkv.weight"] = (3 * inner, dim)
        shapes |= dense(f"{block}.0.fn.to_out.0", inner, dim)
        shapes |= norm(f"{block}.1.norm", dim)
        shapes |= dense(f"{block}.1.fn.net.0", dim, config.mlp_dim)
        shapes |= dense(f"{block}.1.fn.net.3", config.mlp_dim, dim)
    return shapes | dense("proj", dim, size)


def checkpoint_shapes(config: MixCon3DConfig) -> dict[str, tuple[int, ...]]:
    """`GROUP/NAME` and shape of every weight that the configuration uses."""
    size = config.embedding_size
    inputs = {"text_proj": size, "pc_img_proj": 2 * size}
    if not config.share_proj:
        inputs["image_proj"] = size
    shapes = {}
    for group, width in inputs.items():
        if config.head == "linear":
            shapes |= dense(f"{group}/", width, size)
        else:
            shapes |= dense(f"{group}/fc1", width, size) | dense(f"{group}/fc2", size, size)
    if config.view_pooling.endswith("_proj"):
        shapes |= dense("multi_view_proj/", size, size)
    shapes |= {f"{group}/logit_scale": () for group in TEMPERATURES}
    encoder = encoder_shapes(config.encoder, size)
    return {name.replace("/.", "/"): shape for name, shape in shapes.items()} | {
        f"state_dict/{name}": shape for name, shape in encoder.items()
    }


def assert_same_weights(theirs: dict[str, tuple[int, ...]], config: MixCon3DConfig) -> None:
    """Their names and ours are the same weights, one to one, with the same shapes."""
    theirs = {name: shape for name, shape in theirs.items() if "num_batches" not in name}
    paths = {key: from_pytorch(*key.split("/", 1)) for key in theirs}
    _, params, stats = model_structure(config)
    ours = {path: leaf.shape for path, leaf in (flatten(params) | flatten(stats)).items()}
    assert sorted(paths.values()) == sorted(ours)  # as lists: no path twice, none missing
    for key, path in paths.items():
        array = np.lib.stride_tricks.as_strided(np.float32(0), theirs[key], [0] * len(theirs[key]))
        assert array_from_pytorch(path, array).shape == ours[path], key


@pytest.mark.parametrize("scaling", SCALINGS)
def test_every_scaling_maps_one_to_one(scaling):
    config = MixCon3DConfig(SCALINGS[scaling], SIZE)
    assert_same_weights(checkpoint_shapes(config), config)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_every_scaling_has_the_names_shapes_and_order_of_the_original(scaling):
    _, params, stats = model_structure(MixCon3DConfig(SCALINGS[scaling], SIZE))
    leaves = flatten(params) | flatten(stats)
    ours = {
        "/".join(to_pytorch(path)): shape_to_pytorch(path, leaves[path].shape)
        for path in in_pytorch_order(leaves)
    }
    encoder = {key: shape for key, shape in ours.items() if key.startswith("state_dict/")}
    theirs = encoder_shapes(SCALINGS[scaling], SIZE)
    expected = [(f"state_dict/{n}", s) for n, s in theirs.items() if "num_batches" not in n]
    assert list(encoder.items()) == expected
    assert ours.keys() == {
        key for key in checkpoint_shapes(MixCon3DConfig(SCALINGS[scaling], SIZE))
        if "num_batches" not in key
    }  # fmt: skip


@pytest.mark.parametrize("scaling", SCALINGS)
def test_every_scaling_comes_back_bit_for_bit(scaling):
    # All of its weights' names; narrow, so that 171 million of them need not be made.
    narrow = dataclasses.replace(SCALINGS[scaling], dim=6, heads=1, mlp_dim=5, sa_dim=4)
    config = MixCon3DConfig(narrow, 7, share_proj=False, head="mlp", view_pooling="avg_proj")
    rng = np.random.default_rng(scaling)
    theirs = {
        key: rng.integers(2**32, size=shape, dtype=np.uint32).view(np.float32)  # NaN included
        for key, shape in checkpoint_shapes(config).items()
        if "num_batches" not in key
    }
    back = tree_to_pytorch(tree_from_pytorch(theirs))
    assert back.keys() == theirs.keys()
    for key, array in theirs.items():
        assert back[key].shape == array.shape, key
        assert back[key].tobytes() == array.tobytes(), key


@pytest.mark.parametrize("share_proj", [True, False])
@pytest.mark.parametrize("head", ["linear", "mlp"])
@pytest.mark.parametrize("view_pooling", ["avg", "max_proj"])
def test_every_choice_of_heads_maps_one_to_one(share_proj, head, view_pooling):
    config = MixCon3DConfig(TINY, 12, share_proj, head, view_pooling)
    assert_same_weights(checkpoint_shapes(config), config)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_the_measured_table_has_the_same_names_and_shapes(scaling):
    table = FACTS / "upstream_state_dict_shapes.json"
    if not table.exists():
        pytest.skip(f"needs {table}")
    measured = json.loads(table.read_text())[str(scaling)]
    generated = encoder_shapes(SCALINGS[scaling], SIZE)
    assert [(name, tuple(shape)) for name, shape in measured.items()] == list(generated.items())


def test_values_are_transposed_and_nothing_else():
    config = MixCon3DConfig(TINY, 12, share_proj=False, head="mlp", view_pooling="avg_proj")
    rng = np.random.default_rng(0)
    theirs = {
        key: rng.normal(size=shape).astype(np.float32)
        for key, shape in checkpoint_shapes(config).items()
    }
    tree = tree_from_pytorch(theirs)
    assert not any("num_batches" in path for path in tree)
    for key, array in theirs.items():
        if key.endswith("num_batches_tracked"):
            continue
        found = tree[from_pytorch(*key.split("/", 1))]
        np.testing.assert_array_equal(found, array.squeeze().T if array.ndim > 1 else array)
    _, params, stats = model_structure(config)
    unflatten_like(params, tree)
    unflatten_like(stats, tree)


@pytest.mark.parametrize(
    ("group", "name", "path"),
    [
        ("state_dict", "ppat.sa.mlp_bns.2.running_var", "encoder/set_abstraction/norms/2/var"),
        ("state_dict", "ppat.lift.2.weight", "encoder/lift_norm/scale"),
        ("state_dict", f"{BLOCK}.11.0.norm.bias", "encoder/blocks/11/attention_norm/bias"),
        ("state_dict", f"{BLOCK}.11.1.fn.net.3.weight", "encoder/blocks/11/fc2/kernel"),
        ("pc_img_proj", "weight", "fusion/kernel"),
        ("image_proj", "fc2.bias", "image_proj/fc2/bias"),
        ("img_text_logit_scale", "logit_scale", "logit_scales/image_text"),
    ],
)
def test_places_written_out_by_hand(group, name, path):
    assert from_pytorch(group, name) == path
    assert to_pytorch(path) == (group, name)


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("state_dict", f"{BLOCK}.0.0.fn.to_kv.weight"),
        ("state_dict", f"{BLOCK}.0.0.fn.to_qkv.bias"),
        ("state_dict", f"{BLOCK}.x.0.norm.weight"),
        ("state_dict", f"{BLOCK}.0.0.norm.weights"),
        ("state_dict", "module.ppat.cls_token"),
        ("state_dict", "ppat.cls_token.weight"),
        ("state_dict", "ppat.cls_token_2"),
        ("state_dict", "ppat.lift.0.running_mean"),
        ("state_dict", "ppat.lift.2.0.weight"),
        ("state_dict", "ppat.sa.mlp_convs.0"),
        ("state_dict", ""),
        ("text_proj", "0.weight"),
        ("text_proj", "running_mean"),
        ("text_logit_scale", "logit_scale.weight"),
        ("text_logit_scale", ""),
        ("optimizer", "state"),
    ],
)
def test_an_unknown_name_is_an_error_that_says_it(group, name):
    with pytest.raises(WeightsError, match=re.escape(f"{group}/{name}")):
        tree_from_pytorch({f"{group}/{name}": np.zeros((2, 2), np.float32)})
    assert issubclass(WeightsError, InputError)


def test_all_unknown_names_are_listed():
    with pytest.raises(WeightsError, match=r"state_dict/a\n  text_proj/b"):
        tree_from_pytorch(dict.fromkeys(("state_dict/a", "text_proj/b"), np.zeros(2)))


def test_a_path_without_a_name_is_an_error():
    with pytest.raises(WeightsError, match="encoder/blocks/0/fc3/kernel"):
        to_pytorch("encoder/blocks/0/fc3/kernel")
