"""Exports: snapshots as checkpoints in the original's layout or as flat files, and back."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ml_collections import ConfigDict

from mixcon3d_jax.exchange.checkpoint_keys import BEST, OWN_KEY, OWN_VERSION
from mixcon3d_jax.exchange.model_from_shapes import fit_model
from mixcon3d_jax.exchange.pytorch_file import adamw_groups, write_pytorch_file
from mixcon3d_jax.exchange.pytorch_names import (
    WeightsError,
    from_pytorch,
    to_pytorch,
    tree_to_pytorch,
)
from mixcon3d_jax.exchange.pytorch_optimizer import (
    LEFT_OUT,
    moments_from_pytorch,
    moments_to_pytorch,
    optimizer_slots,
    optimizer_state,
    read_moments,
)
from mixcon3d_jax.exchange.safetensors_file import write_safetensors
from mixcon3d_jax.exchange.snapshot import Arrays, MomentPair, Snapshot
from mixcon3d_jax.exchange.weight_groups import (
    EMA,
    OPTIONAL_GROUPS,
    WRAPPER,
    Groups,
    check_groups,
    ema_arrays,
    expected_shapes,
    group_shapes,
    raw_arrays,
)
from mixcon3d_jax.exchange.weights_file import SAFETENSORS, WeightsFile
from mixcon3d_jax.models.mixcon3d import MixCon3DConfig
from mixcon3d_jax.training.optimizer import learning_rate_at
from mixcon3d_jax.training.run_config import model_config, step_config

WEIGHTS = ("ema", "raw")


def write_export(path: Path, snapshot: Snapshot, weights: Literal["ema", "raw"]) -> None:
    """Writes a `.safetensors` with one set of weights, or a `.pt` that the original's loader takes.

    Args:
      path: of the file.
      snapshot: what to write.
      weights: which of the two sets; in a `.pt` it stands where the original has the weights in
        training, and the file has the other set as well.

    Raises:
      WriteError: if it can't be written; nothing is left of the file.
    """
    if path.suffix == SAFETENSORS:
        arrays = snapshot.ema if weights == "ema" else snapshot.raw
        write_safetensors(path, _groups(arrays, snapshot.step), _header(snapshot, weights))
    else:
        write_pytorch_file(path, _checkpoint(snapshot, weights))


def snapshot_of_export(file: WeightsFile, config: ConfigDict, scaling: int | None) -> Snapshot:
    """What an export holds, every name and shape checked.

    Args:
      file: that this project exported.
      config: of the run, as the file has it.
      scaling: the encoder's, if the user names it.

    Raises:
      WeightsError: if weights are unknown, missing or of another shape.
    """
    if file.about is None:
        raise ValueError(f"{file.path} is no export of this project")
    note = fit_model(config, group_shapes(file.groups), scaling)
    model = model_config(config)
    absent = [OPTIONAL_GROUPS[module] for module in file.about.missing]
    required = [group for group in expected_shapes(model) if group not in absent]
    is_flat = file.path.suffix == SAFETENSORS
    check_groups(
        file.groups, model, required if is_flat else [*required, *(g + EMA for g in required)]
    )
    front = raw_arrays(file.groups, model)
    about = dataclasses.replace(file.about, config=config.to_dict())
    if is_flat:
        kind = file.own.get("weights")
        notes = (
            note,
            f"it holds one set of weights ({kind}), which stands for raw and EMA weights: training "
            "begins at step 0 with fresh moments",
        )
        return Snapshot(about, file.step, front, front, {}, notes)
    raw = front
    if "raw" in file.own:
        in_training = _part(file, "raw")
        check_groups(in_training, model, required)
        raw = raw_arrays(in_training, model)
    moments = _moments(file, model, raw)
    goes_on = f"continues at step {file.step}" if moments else "begins at step 0"
    notes = (note, f"an export of this project, whole: training {goes_on}")
    return Snapshot(about, file.step, raw, ema_arrays(file.groups, model), moments, notes)


def _moments(file: WeightsFile, model: MixCon3DConfig, raw: Arrays) -> dict[str, MomentPair]:
    moments, _ = read_moments(file.optimizer, optimizer_slots(model))
    for key, entry in _part(file, "moments").items():
        path = from_pytorch(*key.split("/", 1))
        try:
            moments[path] = moments_from_pytorch(path, entry)
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"no moments of {key} can be read ({error!r})") from error
        if any(moment.shape != raw[path].shape for moment in moments[path]):
            raise WeightsError(f"the moments of {key} have another shape than it")
    return moments


def _part(file: WeightsFile, key: str) -> Mapping[str, Any]:
    part = file.own.get(key)
    if not isinstance(part, Mapping):
        raise WeightsError(f"its {OWN_KEY}/{key} is no dict; export it again")
    return part


def _header(snapshot: Snapshot, weights: str) -> dict[str, str]:
    about = snapshot.about
    return {
        "format": OWN_KEY,
        "version": str(OWN_VERSION),
        "weights": weights,
        "step": str(snapshot.step),
        "about": about.to_text(),
        "clip_id": about.clip_id,
        "up_axis": about.up_axis,
        "color_rule": about.color_rule,
    }


def _checkpoint(snapshot: Snapshot, weights: str) -> dict[str, Any]:
    raw, ema = _groups(snapshot.raw, snapshot.step), _groups(snapshot.ema, snapshot.step)
    own: dict[str, Any] = {
        "version": OWN_VERSION,
        "weights": weights,
        "about": snapshot.about.to_text(),
        "moments": {
            "/".join(to_pytorch(path)): moments_to_pytorch(path, pair)
            for path, pair in snapshot.moments.items()
            if to_pytorch(path)[0] in LEFT_OUT
        },
    }
    if weights == "ema":
        own["raw"] = raw
    front = ema if weights == "ema" else raw
    return {
        **{group: {WRAPPER + n: a for n, a in arrays.items()} for group, arrays in front.items()},
        **{group + EMA: arrays for group, arrays in ema.items()},
        "optimizer": _optimizer(snapshot),
        "scheduler": None,
        "epoch": snapshot.about.epoch_at(snapshot.step),
        "step": snapshot.step,
        **dict.fromkeys(BEST, 0.0),
        OWN_KEY: own,
    }


def _groups(arrays: Arrays, step: int) -> Groups:
    """All groups, with what strict loading there asks for beside the weights themselves."""
    groups: Groups = {}
    for key, array in tree_to_pytorch(arrays).items():
        group, name = key.split("/", 1)
        groups.setdefault(group, {})[name] = array
        if name.endswith(".running_var"):  # a counter stands behind it there
            counter = name.removesuffix("running_var") + "num_batches_tracked"
            groups[group][counter] = np.array(step, np.int64)
    # It always exists there, used or not.
    groups.setdefault("image_proj", groups["text_proj"])
    return groups


def _optimizer(snapshot: Snapshot) -> dict[str, Any]:
    config, about = ConfigDict(snapshot.about.config), snapshot.about
    optimizer = step_config(config, about.num_records or 1).optimizer
    slots = optimizer_slots(model_config(config))
    # Without the length of an epoch the schedule isn't known: the rate that it starts from.
    rate = optimizer.learning_rate
    if about.num_records:
        rate = float(learning_rate_at(optimizer, snapshot.step))
    return {
        "state": optimizer_state(slots, snapshot.moments, snapshot.step),
        "param_groups": adamw_groups(
            len(slots),
            lr=rate,
            betas=(optimizer.beta1, optimizer.beta2),
            eps=optimizer.epsilon,
            weight_decay=optimizer.weight_decay,
        ),
    }
