"""Checkpoints of the training state."""

from errno import ENOTDIR
from typing import Any

import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint.checkpoint_managers import preservation_policy

from mixcon3d_jax.buckets import AnyPath, absolute
from mixcon3d_jax.distributed.agreement import as_first_process_finds
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.files import WriteError, move_folder
from mixcon3d_jax.training.checksums import find_damage, write_checksums
from mixcon3d_jax.training.state import TrainState

CHECKPOINTS_FOLDER = "checkpoints"
# Where damaged ones go, so that the run can save those steps anew.
DAMAGED_FOLDER = "damaged"

_UNFINISHED = ".orbax-checkpoint-tmp"


class CheckpointError(InputError):
    """A workdir or a checkpoint in it cannot be used."""


class Checkpoints:
    """The checkpoints in a workdir, saved in the background, each with checksums of its files.

    A context manager: leaving it waits for the last save, so that a failed one is not silent.

    Args:
      workdir: of the run, the same folder for all processes.
      keep: the newest so many stay.
      folder: of the workdir.
      keep_every: those of every so many steps stay, too; 0 for none.
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
        keep_every: int = 0,
        read_only: bool = False,
    ):
        self._directory = epath.Path(absolute(workdir)) / folder
        self._read_only = read_only
        self._sound: dict[int, bool] = {}
        self._saving = -1
        if read_only and not self._directory.is_dir():
            raise self._empty()
        if self._directory.is_file():
            raise WriteError.of(self._directory, NotADirectoryError(ENOTDIR, "not a folder"))
        kept = [preservation_policy.LatestN(keep)]
        if keep_every:
            kept.append(preservation_policy.EveryNSteps(keep_every))
        options = ocp.CheckpointManagerOptions(
            preservation_policy=preservation_policy.AnyPreservationPolicy(kept),
            enable_async_checkpointing=True,
            create=not read_only,
            async_options=ocp.AsyncOptions(post_finalization_callback=self._add_checksums),
        )
        try:
            self._manager = ocp.CheckpointManager(self._directory, options=options)
            if not read_only:
                as_first_process_finds(self._remove_unfinished)
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
        self.wait()
        self._saving = step
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
        """Returns when everything is stored.

        Raises:
          CheckpointError: if the last save failed.
        """
        try:
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
        except (OSError, ValueError) as error:
            raise self._save_failed(error) from error

    def steps(self) -> list[int]:
        """All finished steps, the newest last."""
        return sorted(self._manager.all_steps())

    def newest_sound(self) -> int | None:
        """The newest step whose files are as they were written; None if there is no checkpoint.

        Damaged ones that are newer are named and, unless this is read-only, set aside.

        Raises:
          CheckpointError: if there are checkpoints, but all are damaged.
        """
        steps = self.steps()
        if not steps or self._sound.get(steps[-1]):
            return steps[-1] if steps else None
        found = as_first_process_finds(lambda: self._find_newest_sound(steps))
        self._manager.reload()
        self._sound[found] = True
        return found

    def restore(self, abstract: TrainState, step: int | None = None) -> TrainState:
        """The state at `step` (default: the newest sound), on the devices that `abstract` names.

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
            raise self._unusable(step, error) from error

    def meta(self, step: int | None = None) -> dict[str, Any]:
        """What was saved beside the state at `step` (default: the newest sound).

        Raises:
          CheckpointError: if there is none, or it is damaged.
        """
        step = self._known(step)
        args = ocp.args.Composite(meta=ocp.args.JsonRestore())
        try:
            return self._manager.restore(step, args=args)["meta"]
        except Exception as error:  # as for `restore`
            raise self._unusable(step, error) from error

    def _known(self, step: int | None) -> int:
        known = self.steps()
        if not known:
            raise self._empty()
        if step is None:
            return self.newest_sound()
        if step not in known:
            steps = ", ".join(map(str, known))
            raise CheckpointError(f"{self._directory} has no step {step}; it has {steps}")
        if not self._sound.get(step):
            damage = as_first_process_finds(lambda: find_damage(self._directory / str(step)))
            if damage:
                raise CheckpointError(
                    f"checkpoint {self._directory / str(step)} can't be used: {damage}; leave out "
                    "--step to use the newest that is sound"
                )
            self._sound[step] = True
        return step

    def _find_newest_sound(self, steps: list[int]) -> int:
        """On process 0: looks through the steps from the newest on, and sets aside damaged ones."""
        damaged = {}
        for step in reversed(steps):
            folder = self._directory / str(step)
            damage = find_damage(folder)
            if not damage:
                for bad, problem in damaged.items():
                    self._report(bad, problem, step)
                return step
            damaged[step] = damage
        problems = "; ".join(f"step {step}: {problem}" for step, problem in damaged.items())
        raise CheckpointError(
            f"no checkpoint in {self._directory} is sound ({problems}); restore that folder from a "
            "copy, or begin anew with another --workdir"
        )

    def _report(self, step: int, problem: str, used: int) -> None:
        folder = self._directory / str(step)
        then = f"step {used} is used instead"
        if not self._read_only:
            aside = self._directory.parent / DAMAGED_FOLDER / f"{self._directory.name}-{step}"
            if aside.exists():
                aside.rmtree()
            move_folder(folder, aside)
            then += f", and the damaged one is now {aside}"
        print(f"checkpoint {folder} is damaged: {problem}; {then}", flush=True)

    def _remove_unfinished(self) -> None:
        """On process 0: names and removes what a save that was broken off has left."""
        if not self._directory.is_dir():  # a bucket has no folders without files
            return
        finished = set(self.steps())
        for path in self._directory.iterdir():
            name = path.name.split(_UNFINISHED)[0]
            if name.isdigit() and (name != path.name or int(name) not in finished):
                print(f"removing {path}: the run ended while it was saved", flush=True)
                path.rmtree()

    def _add_checksums(self) -> None:
        """Called on process 0 when all files of a checkpoint are there, before it counts."""
        step = self._saving
        unfinished = [
            path
            for path in self._directory.iterdir()
            if path.name.split(_UNFINISHED)[0] == str(step)
        ]
        write_checksums(unfinished[0])

    def _empty(self) -> CheckpointError:
        return CheckpointError(
            f"{self._directory} holds no finished checkpoint; train first (`best` is kept with "
            "config.checkpoint.best_by), or check the path of the workdir"
        )

    def _unusable(self, step: int, error: Exception) -> CheckpointError:
        return CheckpointError(
            f"checkpoint {self._directory / str(step)} can't be restored ({error}); it is of "
            "another model, or can't be read"
        )

    def _save_failed(self, error: Exception) -> CheckpointError:
        return CheckpointError(
            f"could not save a checkpoint in {self._directory} ({error}); earlier ones are whole: "
            "make room or permissions there and run the same command again to continue"
        )
