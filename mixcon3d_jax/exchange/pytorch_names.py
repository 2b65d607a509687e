"""The table of names between this project's weights and the original's PyTorch ones, two-way.

A weight is known there by a group of the checkpoint and a name in it, `state_dict` and `proj.bias`
say, and here by its path, `encoder/proj/bias`.
"""

import functools
import re
from collections.abc import Iterable, Mapping

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
    "conv1d": _DENSE,
    "conv2d": _DENSE,
    "layer_norm": _NORM,
    "batch_norm": _NORM | {"running_mean": "mean", "running_var": "var"},
    # One layer, or two with GELU between them.
    "head": _DENSE
    | {f"{layer}.{theirs}": f"{layer}/{ours}" for layer in ("fc1", "fc2")
       for theirs, ours in _DENSE.items()},
}  # fmt: skip
# Axes of length 1 that a 1x1 convolution's weight has there, behind (out, in).
_TRAILING_AXES = {"conv1d": 1, "conv2d": 2}

# Group of a checkpoint, module in it  <->  path here, and which arrays it has.  `{}` stands for a
# number.  In the order of the modules there.
_BLOCK = "ppat.transformer.layers.{}"
_MODULES: tuple[tuple[str, str, str, str], ...] = (
    ("state_dict", "ppat.cls_token", "encoder/cls_token", "array"),
    ("state_dict", "ppat.sa.mlp_convs.{}", "encoder/set_abstraction/convs/{}", "conv2d"),
    ("state_dict", "ppat.sa.mlp_bns.{}", "encoder/set_abstraction/norms/{}", "batch_norm"),
    ("state_dict", "ppat.lift.0", "encoder/lift", "conv1d"),
    ("state_dict", "ppat.lift.2", "encoder/lift_norm", "layer_norm"),
    ("state_dict", f"{_BLOCK}.0.norm", "encoder/blocks/{}/attention_norm", "layer_norm"),
    ("state_dict", f"{_BLOCK}.0.fn.to_qkv", "encoder/blocks/{}/attention/qkv", "kernel"),
    ("state_dict", f"{_BLOCK}.0.fn.to_out.0", "encoder/blocks/{}/attention/out", "dense"),
    ("state_dict", f"{_BLOCK}.1.norm", "encoder/blocks/{}/mlp_norm", "layer_norm"),
    ("state_dict", f"{_BLOCK}.1.fn.net.0", "encoder/blocks/{}/fc1", "dense"),
    ("state_dict", f"{_BLOCK}.1.fn.net.3", "encoder/blocks/{}/fc2", "dense"),
    ("state_dict", "proj", "encoder/proj", "dense"),
    ("image_proj", "", "image_proj", "head"),
    ("text_proj", "", "text_proj", "head"),
    ("multi_view_proj", "", "multi_view_proj", "dense"),
    ("pc_img_proj", "", "fusion", "head"),
    ("text_logit_scale", "logit_scale", "logit_scales/point_text", "array"),
    ("image_logit_scale", "logit_scale", "logit_scales/point_image", "array"),
    ("img_text_logit_scale", "logit_scale", "logit_scales/image_text", "array"),
    ("pc_img_to_text_logit_scale", "logit_scale", "logit_scales/fused_text", "array"),
)
GROUPS = tuple(dict.fromkeys(group for group, *_ in _MODULES))
# Rows of modules that are numbered together share one of these.
_SECTIONS = [(group, module.split("{}")[0]) for group, module, *_ in _MODULES]


def from_pytorch(group: str, name: str) -> str:
    """The path here of the weight `name` in `group` of a checkpoint.

    Raises:
      WeightsError: if the table does not know it.
    """
    for known_group, module, path, kind in _MODULES:
        if group != known_group:
            continue
        for theirs, ours in _LEAVES[kind].items():
            match = _match(_joined(module, theirs, "."), name)
            if match:
                return _joined(path, ours, "/").format(*match.groups())
    raise WeightsError(f"no weight of this model is called {group}/{name} in PyTorch")


def to_pytorch(path: str) -> tuple[str, str]:
    """Group and name there of the weight at `path` here.

    Raises:
      WeightsError: if the table does not know it.
    """
    row, leaf, numbers = _place(path)
    group, module, _, kind = _MODULES[row]
    return group, _joined(module, list(_LEAVES[kind])[leaf], ".").format(*numbers)


def in_pytorch_order(paths: Iterable[str]) -> list[str]:
    """Paths here in the order in which the original's modules list these weights."""

    def key(path: str) -> tuple:
        row, leaf, numbers = _place(path)
        section = _SECTIONS.index(_SECTIONS[row])
        return section, [int(number) for number in numbers], row, leaf

    return sorted(paths, key=key)


def array_from_pytorch(path: str, array: np.ndarray) -> np.ndarray:
    """Turns a PyTorch array to the layout of the weight at `path` here.

    Dense kernels are (in, out) here and (out, in, 1...) there; the rest is alike.
    """
    if path.endswith("/kernel"):
        return np.ascontiguousarray(array.reshape(array.shape[:2]).T)
    return array


def array_to_pytorch(path: str, array: np.ndarray) -> np.ndarray:
    """Turns the array of the weight at `path` here to its layout in PyTorch."""
    shape = shape_to_pytorch(path, array.shape)
    if path.endswith("/kernel"):
        array = np.ascontiguousarray(array.T)
    return array.reshape(shape)


def shape_to_pytorch(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape there of the weight at `path`, which has `shape` here."""
    if not path.endswith("/kernel"):
        return tuple(shape)
    kind = _MODULES[_place(path)[0]][3]
    return (*reversed(shape), *[1] * _TRAILING_AXES.get(kind, 0))


def tree_from_pytorch(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Path here -> array, for `GROUP/NAME` -> array there.

    `num_batches_tracked` counters, which nothing here uses, are left out.

    Raises:
      WeightsError: if there are names that the table does not know; it lists them all.
    """
    tree, unknown = {}, []
    for key, array in weights.items():
        if is_counter(key):
            continue
        try:
            path = from_pytorch(*key.split("/", 1))
        except WeightsError:
            unknown.append(key)
        else:
            tree[path] = array_from_pytorch(path, np.asarray(array))
    if unknown:
        raise WeightsError(
            "no weights of this model are called so in PyTorch:\n  " + "\n  ".join(unknown)
        )
    return tree


def tree_to_pytorch(tree: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`GROUP/NAME` -> array there, for path here -> array, in the order of the modules there.

    Raises:
      WeightsError: if the table does not know a path.
    """
    return {
        "/".join(to_pytorch(path)): array_to_pytorch(path, tree[path])
        for path in in_pytorch_order(tree)
    }


def is_counter(name: str) -> bool:
    """Whether it is a `num_batches_tracked`, which nothing uses where momentum is a number."""
    return name.rsplit(".", 1)[-1] == "num_batches_tracked"


@functools.cache
def _place(path: str) -> tuple[int, int, tuple[str, ...]]:
    """Row of the table, position of the array in its module, and the numbers in the path."""
    for row, (_, _, module, kind) in enumerate(_MODULES):
        for leaf, ours in enumerate(_LEAVES[kind].values()):
            match = _match(_joined(module, ours, "/"), path)
            if match:
                return row, leaf, match.groups()
    raise WeightsError(f"the weight {path} has no name in PyTorch; add it to the table of names")


def _joined(module: str, leaf: str, separator: str) -> str:
    return separator.join(filter(None, (module, leaf)))


def _match(pattern: str, name: str) -> re.Match | None:
    return re.fullmatch(re.escape(pattern).replace(r"\{\}", r"(\d+)"), name)
