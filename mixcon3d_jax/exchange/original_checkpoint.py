"""Checkpoints of the original and of OpenShape as snapshots."""

from collections.abc import Mapping

import numpy as np
from ml_collections import ConfigDict

from mixcon3d_jax.exchange.model_from_shapes import HEADS, fit_model
from mixcon3d_jax.exchange.pytorch_optimizer import LEFT_OUT, optimizer_slots, read_moments
from mixcon3d_jax.exchange.snapshot import About, Arrays, MomentPair, Snapshot
from mixcon3d_jax.exchange.weight_groups import (
    EMA,
    ENCODER,
    OPTIONAL_GROUPS,
    Groups,
    check_groups,
    ema_arrays,
    expected_shapes,
    group_shapes,
    raw_arrays,
)
from mixcon3d_jax.exchange.weights_file import WeightsFile
from mixcon3d_jax.models.mixcon3d import INITIAL_LOGIT_SCALE
from mixcon3d_jax.training.run_config import model_config

# What is lost with a module that a file lacks.
_LOST = {
    "fusion": "fusion head: the fused modes",
    "multi_view_proj": "layer behind the pooled views: all modes with views",
}


def snapshot_of_original(file: WeightsFile, config: ConfigDict, scaling: int | None) -> Snapshot:
    """What a checkpoint holds, every name and shape checked.

    Args:
      file: that was not exported by this project.
      config: for what the file doesn't say; its model is changed to that of the file.
      scaling: the encoder's, if the user names it; None to find out.

    Raises:
      WeightsError: if weights are unknown, missing, of another shape or of another scaling.
    """
    groups = file.groups
    notes = [fit_model(config, group_shapes(groups), scaling)]
    has_projections = any(head in groups for head in HEADS)
    required = [ENCODER, "text_proj"] if has_projections else [ENCODER]
    check_groups(groups, model_config(config), required)
    moments, no_moments = read_moments(file.optimizer, optimizer_slots(model_config(config)))
    if moments and not file.step:
        moments, no_moments = {}, "it does not say at which step it was saved"
    notes.append(_fit_share_proj(config, groups, moments))

    model = model_config(config)
    raw = raw_arrays(groups, model)
    if not has_projections:
        raw |= _identity(model.embedding_size)
        notes.append("it has no projections: identity stands for them, CLIP's embeddings as is")
    expected = expected_shapes(model)
    absent = [group for group in expected if group not in groups]
    missing = tuple(module for module, group in OPTIONAL_GROUPS.items() if group in absent)
    notes += _notes_on_averages(groups)
    for module in missing:
        notes.append(f"it has no {_LOST[module]} mean nothing; training starts it at random")
    notes += _notes_on_temperatures(absent)
    untrained = [group for group in LEFT_OUT if group in expected]
    notes.append(_note_on_moments(file.step, no_moments, untrained))
    return Snapshot(
        about=About(config.to_dict(), config.clip.id, epoch=file.epoch, missing=missing),
        step=file.step,
        raw=raw,
        ema=raw | ema_arrays(groups, model),
        moments=moments,
        notes=tuple(notes),
    )


def _fit_share_proj(config: ConfigDict, groups: Groups, moments: dict[str, MomentPair]) -> str:
    """Sets `config.model.share_proj`, as far as the file tells, and drops unused moments.

    `image_proj` always exists there; what tells is whether it was ever trained.
    """
    own = [path for path in moments if path.startswith("image_proj/")]
    if "image_proj" not in groups:
        config.model.share_proj = True
        why = "it has no image_proj"
    elif moments:
        config.model.share_proj = not any(np.any(array) for path in own for array in moments[path])
        why = "image_proj was never trained" if config.model.share_proj else "it was trained"
    else:
        why = "the config says so"
    if config.model.share_proj:
        for path in own:
            del moments[path]
    through = "text_proj" if config.model.share_proj else "image_proj"
    return f"images go through {through} ({why})"


def _identity(size: int) -> Arrays:
    return {
        "text_proj/kernel": np.eye(size, dtype=np.float32),
        "text_proj/bias": np.zeros(size, np.float32),
    }


def _notes_on_averages(groups: Mapping) -> list[str]:
    if ENCODER + EMA not in groups:
        return ["it has no EMA: the weights stand for it"]
    without = [group for group in groups if not group.endswith(EMA) and group + EMA not in groups]
    return [f"EMA of the encoder; none of {', '.join(without)}: the weights stand for it"]


def _notes_on_temperatures(absent: list[str]) -> list[str]:
    scales = [group for group in absent if group.endswith("logit_scale")]
    if not scales:
        return []
    return [f"it has no {', '.join(scales)}: at their start, {INITIAL_LOGIT_SCALE:.4f}"]


def _note_on_moments(step: int, no_moments: str | None, untrained: list[str]) -> str:
    if no_moments:
        return f"{no_moments}: training begins at step 0 with fresh moments"
    return (
        f"training continues at step {step}; {', '.join(untrained)} have no moments, since the "
        "original does not train them (config.optim.frozen says what is not trained here)"
    )
