"""The table of names between this project's weights and the original's PyTorch ones, two-way."""

import re
from collections.abc import Mapping

import numpy as np

from mixcon3d_jax.errors import InputError


class WeightsError(InputError):
    """A weight's name or shape is not one that the model has."""


# What a module's arrays are called there and here, after the module's own name.
_DENSE = {"weight": "kernel", "bias": "bias"}
_NORM = {"weight": "scale", "bias": "bias"}
_LEAVES: dict[str, dict[str, str]] = {
    "array": {"": ""},
    "kernel": {"weight": "kernel"},
    "dense": _DENSE,
    "layer_norm": _NORM,
    "batch_norm": _NORM | {"running_mean": "mean", "running_var": "var"},
    # One layer, or a `Sequential` of layer, GELU, layer.
    "head": _DENSE
    | {f"0.{theirs}": f"fc1/{ours}" for theirs, ours in _DENSE.items()}
    | {f"2.{theirs}": f"fc2/{ours}" for theirs, ours in _DENSE.items()},
}

# Group of a released checkpoint, module in it  <->  path here, and which arrays it has.  `{}`
# stands for a number.
_BLOCK = "ppat.transformer.layers.{}"
_MODULES: tuple[tuple[str, str, str, str], ...] = (
    ("state_dict", "ppat.cls_token", "encoder/cls_token", "array"),
    ("state_dict", "ppat.sa.mlp_convs.{}", "encoder/set_abstraction/convs/{}", "dense"),
    ("state_dict", "ppat.sa.mlp_bns.{}", "encoder/set_abstraction/norms/{}", "batch_norm"),
    ("state_dict", "ppat.lift.0", "encoder/lift", "dense"),
    ("state_dict", "ppat.lift.2", "encoder/lift_norm", "layer_norm"),
    ("state_dict", f"{_BLOCK}.0.norm", "encoder/blocks/{}/attention_norm", "layer_norm"),
    ("state_dict", f"{_BLOCK}.0.fn.to_qkv", "encoder/blocks/{}/attention/qkv", "kernel"),
    ("state_dict", f"{_BLOCK}.0.fn.to_out.0", "encoder/blocks/{}/attention/out", "dense"),
    ("state_dict", f"{_BLOCK}.1.norm", "encoder/blocks/{}/mlp_norm", "layer_norm"),
    ("state_dict", f"{_BLOCK}.1.fn.net.0", "encoder/blocks/{}/fc1", "dense"),
    ("state_dict", f"{_BLOCK}.1.fn.net.3", "encoder/blocks/{}/fc2", "dense"),
    ("state_dict", "proj", "encoder/proj", "dense"),
    ("text_proj", "", "text_proj", "head"),
    ("image_proj", "", "image_proj", "head"),
    ("multi_view_proj", "", "multi_view_proj", "dense"),
    ("pc_img_proj", "", "fusion", "head"),
    ("text_logit_scale", "logit_scale", "logit_scales/point_text", "array"),
    ("image_logit_scale", "logit_scale", "logit_scales/point_image", "array"),
    ("img_text_logit_scale", "logit_scale", "logit_scales/image_text", "array"),
    ("pc_img_to_text_logit_scale", "logit_scale", "logit_scales/fused_text", "array"),
)


def from_pytorch(group: str, name: str) -> str:
    """The path here of the weight `name` in `group` of a released checkpoint.

    Raises:
      WeightsError: if the table does not know it.
    """
    for known_group, module, path, kind in _MODULES:
        if group != known_group:
            continue
        for theirs, ours in _LEAVES[kind].items():
            known_name = ".".join(filter(None, (module, theirs)))
            match = re.fullmatch(re.escape(known_name).replace(r"\{\}", r"(\d+)"), name)
            if match:
                return "/".join(filter(None, (path.format(*match.groups()), ours)))
    raise WeightsError(f"no weight of this model is called {group}/{name} in PyTorch")


def array_from_pytorch(path: str, array: np.ndarray) -> np.ndarray:
    """Turns a PyTorch array to the layout of the weight at `path` here.

    Dense kernels are (in, out) here and (out, in, 1...) there; the rest is alike.
    """
    if path.endswith("/kernel"):
        return np.ascontiguousarray(array.reshape(array.shape[:2]).T)
    return array


def tree_from_pytorch(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Path here -> array, for `GROUP/NAME` -> array there.

    `num_batches_tracked` counters, which nothing here uses, are left out.
    """
    tree = {}
    for key, array in weights.items():
        group, name = key.split("/", 1)
        if name.endswith("num_batches_tracked"):
            continue
        path = from_pytorch(group, name)
        tree[path] = array_from_pytorch(path, np.asarray(array))
    return tree
