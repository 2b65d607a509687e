"""Checkpoints of the training state."""

from typing import Any

import orbax.checkpoint as ocp

from mixcon3d_jax.buckets import AnyPath, absolute
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.files import WriteError
from mixcon3d_jax.training.state import TrainState

CHECKPOINTS_FOLDER = "checkpoints"


class CheckpointError(InputError):
    """A workdir or a checkpoint in it cannot be used."""


class Checkpoints:
    """The checkpoints in a workdir, saved in the background.

    A context manager: leaving it waits for the last save, so that a failed one is not silent.

    Args:
      workdir: of the run.
      keep: the newest so many stay.
      folder: of the workdir.
      read_only: nothing will be saved, so the folder has to be there.

    Raises:
      CheckpointError: if it isn't.
      WriteError: if it can't be made.
    """

    def __init__(
        self,
        workdir: AnyPath,
        keep: int,
        folder: str = CHECKPOINTS_FOLDER,
        *,
        read_only: bool = False,
    ):
        self._directory = absolute(workdir) / folder
        if read_only and not self._directory.is_dir():
            raise self._empty()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, enable_async_checkpointing=True, create=True
        )
        try:
            self._manager = ocp.CheckpointManager(self._directory, options=options)
        except OSError as error:
            raise WriteError.of(self._directory, error) from error

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
            saved = self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta)
                ),
            )
        except (OSError, ValueError) as error:
            raise self._save_failed(error) from error
        if not saved:
            raise CheckpointError(
                f"step {step} was not saved, since {self._directory} has one of step "
                f"{self._manager.latest_step()} already; use another --workdir"
            )

    def delete(self, step: int) -> None:
        """Removes a checkpoint."""
        self._manager.delete(step)

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

    def steps(self) -> list[int]:
        """All finished steps, the newest last."""
        return sorted(self._manager.all_steps())

    def restore(self, abstract: TrainState, step: int | None = None) -> TrainState:
        """The state at `step` (default: the newest), on the devices that `abstract` names.

        Raises:
          CheckpointError: if there is none, it is damaged, or it has other shapes.
        """
        step = self._known(step)
        try:
            return self._manager.restore(
                step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
            )["state"]
        # Orbax raises bare `Exception`s for damaged files.
        except Exception as error:
            raise self._damaged(step, error) from error

    def meta(self, step: int | None = None) -> dict[str, Any]:
        """What was saved beside the state at `step` (default: the newest).

        Raises:
          CheckpointError: if there is none, or it is damaged.
        """
        step = self._known(step)
        args = ocp.args.Composite(meta=ocp.args.JsonRestore())
        try:
            return self._manager.restore(step, args=args)["meta"]
        except Exception as error:  # as for `restore`
            raise self._damaged(step, error) from error

    def _known(self, step: int | None) -> int:
        known = self._manager.all_steps()
        if not known:
            raise self._empty()
        if step is None:
            return max(known)
        if step not in known:
            steps = ", ".join(map(str, sorted(known)))
            raise CheckpointError(f"{self._directory} has no step {step}; it has {steps}")
        return step

    def _empty(self) -> CheckpointError:
        return CheckpointError(
            f"{self._directory} holds no finished checkpoint; train first (`best` is kept with "
            "config.checkpoint.best_by), or check --workdir"
        )

    def _damaged(self, step: int, error: Exception) -> CheckpointError:
        return CheckpointError(
            f"checkpoint {self._directory / str(step)} can't be restored ({error}); it is damaged, "
            "or of another model.  Delete that folder to go back to the one before it"
        )

    def _save_failed(self, error: Exception) -> CheckpointError:
        return CheckpointError(
            f"could not save a checkpoint in {self._directory} ({error}); earlier ones are whole: "
            "make room or permissions there and run the same command again to continue"
        )
