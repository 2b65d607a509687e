"""Checkpoints of the training state, and what a workdir says about its run."""

import json
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp
from ml_collections import ConfigDict

from mixcon3d_jax.errors import InputError
from mixcon3d_jax.training.run_config import differing_keys
from mixcon3d_jax.training.state import TrainState

CONFIG_FILE = "config.json"
_CHECKPOINTS = "checkpoints"


class CheckpointError(InputError):
    """A workdir or a checkpoint in it cannot be used."""


class Checkpoints:
    """The checkpoints in a workdir, saved in the background.

    A context manager: leaving it waits for the last save, so that a failed one is not silent.
    """

    def __init__(self, workdir: Path, keep: int):
        self._directory = Path(workdir).absolute() / _CHECKPOINTS
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, enable_async_checkpointing=True, create=True
        )
        self._manager = ocp.CheckpointManager(self._directory, options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
        self._manager.close()

    def save(self, state: TrainState, meta: dict[str, Any]) -> None:
        """Saves the state under its step; `meta` is what a reader of the checkpoint must know.

        Raises:
          CheckpointError: if this save or the one before it failed.
        """
        step = int(state.step)
        try:
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta)
                ),
            )
        except (OSError, ValueError) as error:
            raise self._save_failed(error) from error

    def wait(self) -> None:
        """Returns when everything is on disk.

        Raises:
          CheckpointError: if the last save failed.
        """
        try:
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
        except (OSError, ValueError) as error:
            raise self._save_failed(error) from error

    def latest_step(self) -> int | None:
        """The newest finished step."""
        return self._manager.latest_step()

    def restore(self, abstract: TrainState, step: int | None = None) -> TrainState:
        """The state at `step` (default: the newest), on the devices that `abstract` names.

        Raises:
          CheckpointError: if there is none, or it has other shapes.
        """
        step = self._known(step)
        try:
            return self._manager.restore(
                step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
            )["state"]
        except ValueError as error:
            raise CheckpointError(
                f"{self._directory}/{step} does not fit this config's model: {error}"
            ) from error

    def meta(self, step: int | None = None) -> dict[str, Any]:
        """What was saved beside the state at `step` (default: the newest)."""
        step = self._known(step)
        return self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))[
            "meta"
        ]

    def _known(self, step: int | None) -> int:
        known = self._manager.all_steps()
        if not known:
            raise CheckpointError(
                f"{self._directory} holds no finished checkpoint; train first, or check --workdir"
            )
        if step is None:
            return max(known)
        if step not in known:
            steps = ", ".join(map(str, sorted(known)))
            raise CheckpointError(f"{self._directory} has no step {step}; it has {steps}")
        return step

    def _save_failed(self, error: Exception) -> CheckpointError:
        return CheckpointError(
            f"could not save a checkpoint in {self._directory} ({error}); earlier ones are whole: "
            "make room or permissions there and run the same command again to continue"
        )


def claim_workdir(workdir: Path, config: ConfigDict) -> None:
    """Writes the config into a new workdir, or checks that an old one is of the same experiment.

    Raises:
      CheckpointError: if the workdir belongs to another config; the message names the keys.
    """
    path = Path(workdir) / CONFIG_FILE
    if path.exists():
        differing = differing_keys(config, read_config(workdir).to_dict())
        if differing:
            listed = "\n  ".join(differing)
            raise CheckpointError(
                f"{workdir} belongs to a run with another config:\n  {listed}\n"
                "use another --workdir, or the same values to continue that run"
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(config.to_dict(), indent=1, sort_keys=True) + "\n")
    temporary.rename(path)


def read_config(workdir: Path) -> ConfigDict:
    """The config of a workdir's run.

    Raises:
      CheckpointError: if there is none.
    """
    path = Path(workdir) / CONFIG_FILE
    if not path.exists():
        raise CheckpointError(f"{workdir} is not a workdir: it has no {CONFIG_FILE}")
    return ConfigDict(json.loads(path.read_text()))
