"""A profile of some steps of a run, for XProf (TensorBoard) and Perfetto."""

import re
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import jax

from mixcon3d_jax.buckets import AnyPath, as_path
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.files import WriteError, write_whole

PROFILE_FOLDER = "profile"
# Of JAX's files, those that are kept, and what they are called behind the process' number.
_KEPT = {"*.xplane.pb": "xplane.pb", "perfetto_trace.json.gz": "perfetto.json.gz"}


class ProfileError(InputError):
    """The steps to profile are none that a run could have."""


def profiled_steps(text: str) -> range:
    """The steps that `config.profile` names; none if it is empty.

    Raises:
      ProfileError: if it isn't `START:STOP` with START < STOP.
    """
    if not text:
        return range(0)
    match = re.fullmatch(r"(\d+):(\d+)", text, re.ASCII)
    if match is None or int(match[1]) >= int(match[2]):
        raise ProfileError(
            f"config.profile is {text!r}; it must be START:STOP, two whole numbers of which the "
            "first is smaller, such as 100:105 for the 5 steps after the first 100, or empty"
        )
    return range(int(match[1]), int(match[2]))


def check_profile(steps: range, total_steps: int) -> None:
    """Raises a `ProfileError` unless a run of `total_steps` has all of these steps."""
    if steps.stop > total_steps:
        raise ProfileError(
            f"config.profile is '{steps.start}:{steps.stop}', but the run has {total_steps} steps; "
            f"STOP must be {total_steps} or less"
        )


class StepProfile:
    """Records those steps of a range that a process runs.

    A context manager: what was recorded when a run is left in the middle is kept.

    Args:
      workdir: gets `profile/plugins/profile/steps-START-STOP/process-N.*`, where XProf finds it.
      steps: the range, each by the number of updates before it.
    """

    def __init__(self, workdir: AnyPath, steps: range):
        self._folder = as_path(workdir) / PROFILE_FOLDER
        self._steps = steps
        self._local: tempfile.TemporaryDirectory | None = None  # while steps are recorded
        self._first = self._done = 0

    def __enter__(self) -> "StepProfile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._local is not None:
            self._stop()

    def start_if_due(self, step: int, state: Any) -> None:
        """Begins to record, if `step` is the first of the range that this process runs.

        Args:
          step: updates done.
          state: after them; waited for, so that no earlier step is recorded.
        """
        if self._local is not None or step not in self._steps:
            return
        jax.block_until_ready(state)
        local = tempfile.TemporaryDirectory(prefix="mixcon3d-", ignore_cleanup_errors=True)
        try:
            jax.profiler.start_trace(local.name, create_perfetto_trace=True)
        except RuntimeError as error:  # something else in this process records
            print(f"no profile of steps {step} to {self._steps.stop}: {error}", flush=True)
            self._steps = range(0)
            return
        self._local, self._first, self._done = local, step, step

    def stop_if_due(self, step: int, state: Any) -> bool:
        """Ends the recording, if `step` is beyond the range; returns whether it did.

        Args:
          step: updates done.
          state: after them; waited for, if the recording ends.
        """
        self._done = step
        if self._local is None or step in self._steps:
            return False
        jax.block_until_ready(state)
        self._stop()
        return True

    def _stop(self) -> None:
        steps = f"steps {self._first} to {self._done}"
        target = self._folder / "plugins" / "profile" / f"steps-{self._first}-{self._done}"
        local, self._local = self._local, None
        with local:
            try:
                jax.profiler.stop_trace()
                for pattern, name in _KEPT.items():
                    for path in Path(local.name).rglob(pattern):
                        process = f"process-{jax.process_index()}.{name}"
                        write_whole(target / process, path.read_bytes())
            except (WriteError, OSError, RuntimeError) as error:
                # A run is worth more than its profile.
                print(f"no profile of {steps}: {error}", flush=True)
                return
        if jax.process_index() == 0:
            print(
                f"profile of {steps}: {target}\n"
                f"  see it with: pip install xprof && xprof --logdir={self._folder}\n"
                "  or open its perfetto.json.gz at https://ui.perfetto.dev",
                flush=True,
            )
