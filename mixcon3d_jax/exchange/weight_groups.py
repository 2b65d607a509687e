"""The groups of weights in a checkpoint: found, and checked against a model."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from mixcon3d_jax.exchange.pytorch_names import (
    GROUPS,
    WeightsError,
    in_pytorch_order,
    is_counter,
    shape_to_pytorch,
    to_pytorch,
    tree_from_pytorch,
)
from mixcon3d_jax.exchange.snapshot import Arrays
from mixcon3d_jax.models.mixcon3d import MixCon3DConfig
from mixcon3d_jax.models.variables import flatten, model_structure

# Group -> name in it -> array in PyTorch's layout.
Groups = dict[str, dict[str, np.ndarray]]

ENCODER = "state_dict"
# Behind the name of a group: its running average.
EMA = "_ema"
# Modules without which a model still embeds points; some checkpoints lack their groups.
OPTIONAL_GROUPS = {"fusion": "pc_img_proj", "multi_view_proj": "multi_view_proj"}
# What distributed training there puts before every name of the weights that it trains.
WRAPPER = "module."
# OpenShape's one temperature for texts and images: a group, or among the encoder's weights.
_SHARED_TEMPERATURE = "logit_scale"


def find_groups(content: Mapping[str, Any], others: Iterable[str]) -> Groups:
    """The groups of weights in a checkpoint, their names without `module.`.

    Args:
      content: of a checkpoint, arrays in place of tensors.
      others: keys of `content` that are no weights.
    """
    groups: Groups = {}
    for key, value in content.items():
        if key in others:
            continue
        if isinstance(value, np.ndarray):
            value = {key: value}
        arrays = value.values() if isinstance(value, Mapping) else ()
        if any(isinstance(array, np.ndarray) for array in arrays):
            groups[key] = _unwrapped(value)
    return _with_both_temperatures(groups)


def _unwrapped(named: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    short = {str(name).removeprefix(WRAPPER): array for name, array in named.items()}
    # Two names that become one are left for the check of names to find.
    return short if len(short) == len(named) else dict(named)


def _with_both_temperatures(groups: Groups) -> Groups:
    alone = groups.get(_SHARED_TEMPERATURE, {})
    for place in (alone, groups.get(ENCODER, {})):
        value = place.get(_SHARED_TEMPERATURE)
        if isinstance(value, np.ndarray) and value.size == 1:
            del place[_SHARED_TEMPERATURE]
            for group in ("text_logit_scale", "image_logit_scale"):
                groups.setdefault(group, {"logit_scale": value.reshape(())})
    return {group: arrays for group, arrays in groups.items() if arrays or arrays is not alone}


def group_shapes(groups: Groups) -> dict[str, dict[str, tuple[int, ...]]]:
    """Group -> name -> shape."""
    return {
        group: {name: np.shape(array) for name, array in arrays.items()}
        for group, arrays in groups.items()
    }


def expected_shapes(model: MixCon3DConfig) -> dict[str, dict[str, tuple[int, ...]]]:
    """Group -> name -> shape there, `image_proj` included, which the original always has."""
    _, params, stats = model_structure(dataclasses.replace(model, share_proj=False))
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    leaves = flatten(params) | flatten(stats)
    for path in in_pytorch_order(leaves):
        group, name = to_pytorch(path)
        shapes.setdefault(group, {})[name] = shape_to_pytorch(path, leaves[path].shape)
    return shapes


def check_groups(groups: Groups, model: MixCon3DConfig, required: Iterable[str]) -> None:
    """Checks every name and shape in the groups, and that `required` ones are there.

    Raises:
      WeightsError: lists all names that are unknown, missing, or of another shape.
    """
    expected = expected_shapes(model)
    unknown, missing, misshapen = [], [], []
    for group in dict.fromkeys((*required, *groups)):
        known = expected.get(group.removesuffix(EMA), {})
        found = groups.get(group, {})
        unknown += [f"{group}/{n}" for n in found if n not in known and not is_counter(n)]
        missing += [f"{group}/{n}" for n in known if n not in found]
        for name, shape in known.items():
            array = found.get(name)
            if array is None:
                continue
            there = array.shape if isinstance(array, np.ndarray) else "no tensor"
            if there != shape:
                misshapen.append(f"{group}/{name}: {there} where {shape} is expected")
    problems = [
        f"{title}:\n  " + "\n  ".join(names)
        for title, names in (
            ("weights that the model has no place for", unknown),
            ("weights that are missing", missing),
            ("weights of another shape", misshapen),
        )
        if names
    ]
    if problems:
        raise WeightsError(
            "the file does not hold the weights of this model (is it whole, and are --scaling and "
            "config.model right?)\n" + "\n".join(problems)
        )


def raw_arrays(groups: Groups, model: MixCon3DConfig) -> Arrays:
    """Path here -> array, of the groups that the model uses."""
    return _arrays({group: groups[group] for group in GROUPS if group in groups}, model)


def ema_arrays(groups: Groups, model: MixCon3DConfig) -> Arrays:
    """Path here -> running average, of the groups that have one and that the model uses."""
    found = {group: groups[group + EMA] for group in GROUPS if group + EMA in groups}
    return _arrays(found, model)


def _arrays(groups: Groups, model: MixCon3DConfig) -> Arrays:
    unused = {"image_proj"} if model.share_proj else set()
    return tree_from_pytorch(
        {
            f"{group}/{name}": np.asarray(array, np.float32)
            for group, arrays in groups.items()
            if group not in unused
            for name, array in arrays.items()
            if not is_counter(name)
        }
    )
