"""The saved state of a run, to look at."""

from typing import Any

from jax.sharding import Mesh
from ml_collections import ConfigDict

from mixcon3d_jax.buckets import AnyPath
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.training import run_config
from mixcon3d_jax.training.checkpoint import CHECKPOINTS_FOLDER, Checkpoints
from mixcon3d_jax.training.optimizer import make_optimizer
from mixcon3d_jax.training.state import TrainState, abstract_state


def restore_state(
    config: ConfigDict,
    workdir: AnyPath,
    mesh: Mesh,
    step: int | None = None,
    folder: str = CHECKPOINTS_FOLDER,
) -> tuple[TrainState, tuple[str, ...]]:
    """A state of a run, and the modules of it whose weights mean nothing.

    Args:
      config: of the run, where keys that weights don't depend on may differ.
      workdir: of the run.
      mesh: that the state goes to.
      step: which checkpoint; default the newest sound one.
      folder: of the workdir's checkpoints.

    Raises:
      InputError: if there is no such checkpoint, it is damaged, or of another model.
    """
    # The shapes of the state don't depend on the length of the schedule.
    steps = run_config.step_config(config, num_records=1)
    abstract = abstract_state(steps.model, make_optimizer(steps.optimizer), mesh)
    with Checkpoints(workdir, config.checkpoint.keep, folder, read_only=True) as checkpoints:
        meta = checkpoints.meta(step)
        _check_model(config, meta)
        return checkpoints.restore(abstract, step), tuple(meta.get("missing", ()))


def _check_model(config: ConfigDict, meta: dict[str, Any]) -> None:
    differing = run_config.differing_keys(config, meta.get("config", config.to_dict()))
    lines = [line for line in differing if line.startswith(("config.model.", "config.clip."))]
    if lines:
        raise InputError("the checkpoint is of another model:\n  " + "\n  ".join(lines))
