"""The table of names between this project's weights and the original's PyTorch ones, two-way."""

import re
from collections.abc import Mapping

import numpy as np

from mixcon3d_jax.errors import InputError


class WeightsError(InputError):
    """A weight's name or shape is not one that the model has."""


# Group of a released checkpoint, name in it  <->  path here.  `{}` stands for a block's number and
# for a layer's parameters.  The first match wins.
_MODULES: tuple[tuple[str, str, str], ...] = (
    ("state_dict", "ppat.cls_token", "encoder/cls_token"),
    ("state_dict", "ppat.sa.mlp_convs.{}", "encoder/set_abstraction/convs/{}"),
    ("state_dict", "ppat.sa.mlp_bns.{}", "encoder/set_abstraction/norms/{}"),
    ("state_dict", "ppat.lift.0", "encoder/lift"),
    ("state_dict", "ppat.lift.2", "encoder/lift_norm"),
    ("state_dict", "ppat.transformer.layers.{}.0.norm", "encoder/blocks/{}/attention_norm"),
    ("state_dict", "ppat.transformer.layers.{}.0.fn.to_qkv", "encoder/blocks/{}/attention/qkv"),
    ("state_dict", "ppat.transformer.layers.{}.0.fn.to_out.0", "encoder/blocks/{}/attention/out"),
    ("state_dict", "ppat.transformer.layers.{}.1.norm", "encoder/blocks/{}/mlp_norm"),
    ("state_dict", "ppat.transformer.layers.{}.1.fn.net.0", "encoder/blocks/{}/fc1"),
    ("state_dict", "ppat.transformer.layers.{}.1.fn.net.3", "encoder/blocks/{}/fc2"),
    ("state_dict", "proj", "encoder/proj"),
    ("text_proj", "", "text_proj"),
    ("image_proj", "", "image_proj"),
    ("multi_view_proj", "", "multi_view_proj"),
    ("pc_img_proj", "", "fusion"),
    ("text_logit_scale", "logit_scale", "logit_scales/point_text"),
    ("image_logit_scale", "logit_scale", "logit_scales/point_image"),
    ("img_text_logit_scale", "logit_scale", "logit_scales/image_text"),
    ("pc_img_to_text_logit_scale", "logit_scale", "logit_scales/fused_text"),
)
# A head of two layers is a `Sequential` there: layer, GELU, layer.
_MLP_LAYERS = {"0": "fc1", "2": "fc2"}
_STATISTICS = {"running_mean": "mean", "running_var": "var"}


def from_pytorch(group: str, name: str) -> str:
    """The path here of the weight `name` in `group` of a released checkpoint.

    Raises:
      WeightsError: if the table does not know it.
    """
    for known_group, theirs, ours in _MODULES:
        if group != known_group:
            continue
        pattern = re.escape(theirs).replace(r"\{\}", r"(\d+)")
        match = re.fullmatch(pattern + r"(?:^|\.|$)(?P<leaf>.*)", name)
        if match is None:
            continue
        path = ours.format(*(match.groups()[: theirs.count("{}")]))
        leaf = match["leaf"]
        if theirs == "" and (layer := re.fullmatch(r"(0|2)\.(weight|bias)", leaf)):
            path, leaf = f"{path}/{_MLP_LAYERS[layer[1]]}", layer[2]
        if leaf == "":
            return path
        if leaf == "weight":
            leaf = "scale" if path.endswith("norm") or "/norms/" in path else "kernel"
        if leaf in ("kernel", "scale", "bias") or leaf in _STATISTICS:
            return f"{path}/{_STATISTICS.get(leaf, leaf)}"
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
