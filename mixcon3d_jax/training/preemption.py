"""Notices that the machine is about to be taken away (SIGTERM), on whichever process."""

import signal
import threading
from types import FrameType, TracebackType

import jax
from jax.experimental import multihost_utils

# Of a command that saved and left: EX_TEMPFAIL, run it again to continue.
PREEMPTED_STATUS = 75


class PreemptedError(Exception):
    """The run was asked to leave, and has saved its state.

    Attributes:
      step: updates done and saved.
    """

    def __init__(self, step: int):
        super().__init__(f"asked to leave at step {step}")
        self.step = step


class PreemptionWatch:
    """A context in which SIGTERM doesn't end the process but is noticed at the next step."""

    def __init__(self):
        self._asked = False
        self._questions = 0
        self._previous = None

    def __enter__(self) -> "PreemptionWatch":
        # Among several processes JAX listens itself, and lets them agree on a step.
        alone = not jax.distributed.is_initialized()
        if alone and threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def reached(self) -> bool:
        """Whether all processes are to save and leave now; asked equally often by all."""
        if not jax.distributed.is_initialized():
            return self._asked
        # JAX picks the number after the highest that it was asked with, 1 if it was never asked.
        # So these count from 1, as steps of a continued run do not.
        self._questions += 1
        return multihost_utils.reached_preemption_sync_point(self._questions)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
