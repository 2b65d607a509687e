"""AdamW's moments in the original's order of parameters."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mixcon3d_jax.exchange.pytorch_names import (
    WeightsError,
    array_from_pytorch,
    array_to_pytorch,
    in_pytorch_order,
    shape_to_pytorch,
    to_pytorch,
)
from mixcon3d_jax.exchange.snapshot import MomentPair
from mixcon3d_jax.models.mixcon3d import MixCon3DConfig
from mixcon3d_jax.models.variables import flatten, model_structure

# Trained here, and in no parameter group of the original's optimiser.
LEFT_OUT = ("multi_view_proj", "pc_img_proj", "pc_img_to_text_logit_scale")
MOMENT_KEYS = ("exp_avg", "exp_avg_sq")


@dataclasses.dataclass(frozen=True)
class Slot:
    """A parameter of the original's optimiser: its path here, its shape there."""

    path: str
    shape: tuple[int, ...]


def optimizer_slots(model: MixCon3DConfig) -> list[Slot]:
    """The parameters in the order of the original's one parameter group.

    `image_proj` is among them even where images go through the texts' projection.
    """
    _, params, _ = model_structure(dataclasses.replace(model, share_proj=False))
    leaves = flatten(params)
    trained = [path for path in leaves if to_pytorch(path)[0] not in LEFT_OUT]
    return [
        Slot(path, shape_to_pytorch(path, leaves[path].shape)) for path in in_pytorch_order(trained)
    ]


def optimizer_state(
    slots: Sequence[Slot], moments: Mapping[str, MomentPair], step: int
) -> dict[int, dict]:
    """PyTorch's `state`: number of the parameter -> `step`, `exp_avg` and `exp_avg_sq`.

    A parameter without moments gets no entry, as one that never had a gradient.
    """
    return {
        number: {"step": np.float32(step), **moments_to_pytorch(slot.path, moments[slot.path])}
        for number, slot in enumerate(slots)
        if slot.path in moments
    }


def moments_to_pytorch(path: str, pair: MomentPair) -> dict[str, np.ndarray]:
    """`exp_avg` and `exp_avg_sq` of one parameter."""
    arrays = (array_to_pytorch(path, array) for array in pair)
    return dict(zip(MOMENT_KEYS, arrays, strict=True))


def moments_from_pytorch(path: str, entry: Mapping[str, Any]) -> MomentPair:
    """Both moments of one parameter here."""
    first, second = (
        array_from_pytorch(path, np.asarray(entry[key], np.float32)) for key in MOMENT_KEYS
    )
    return first, second


def read_moments(optimizer: Any, slots: Sequence[Slot]) -> tuple[dict[str, MomentPair], str | None]:
    """The moments in the original's optimiser state.

    Args:
      optimizer: what `torch.optim.AdamW.state_dict` gave, arrays in place of tensors.
      slots: the parameters that it should be about.

    Returns:
      Path here -> moments, and None; or nothing, and why they can't be used.

    Raises:
      WeightsError: if a moment has another shape than its parameter; lists them all.
    """
    try:
        numbers = [n for group in optimizer["param_groups"] for n in group["params"]]
        entries = optimizer["state"]
        held = [entries.get(number) for number in numbers]
    except (TypeError, KeyError, AttributeError):
        return {}, "the file has no state of an optimiser"
    # An optimiser without the image-text temperature, which is the last.
    if len(held) not in (len(slots), len(slots) - 1):
        return {}, (
            f"the optimiser's state is of {len(held)} parameters where the original's has "
            f"{len(slots)}"
        )
    moments, misshapen = {}, []
    for slot, entry in zip(slots, held, strict=False):
        if entry is None:
            continue
        if not isinstance(entry, Mapping) or not all(key in entry for key in MOMENT_KEYS):
            return {}, "the optimiser's state holds no moments of AdamW"
        shapes = [np.shape(entry[key]) for key in MOMENT_KEYS]
        misshapen += [
            f"{'/'.join(to_pytorch(slot.path))}, {key}: {shape} where {slot.shape} is expected"
            for key, shape in zip(MOMENT_KEYS, shapes, strict=True)
            if shape != slot.shape
        ]
        if not misshapen:
            moments[slot.path] = moments_from_pytorch(slot.path, entry)
    if misshapen:
        raise WeightsError("the optimiser's moments don't fit:\n  " + "\n  ".join(misshapen))
    return moments, None if moments else "the optimiser has made no step"
