"""Stops a run whose loss is no number, and leaves what is needed to find out why."""

import json
import math
from collections.abc import Callable, Sequence

import jax
from etils import epath

from mixcon3d_jax.distributed.agreement import gather_texts
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.files import write_whole
from mixcon3d_jax.training.step import Metrics


class DivergenceError(InputError):
    """The loss became NaN or infinite."""


class LossWatch:
    """Looks at the losses of past steps, when that doesn't make the device wait.

    Args:
      workdir: of the run.
      batch_ids: ids of the shapes in this process' rows of the batch of a step, in order.
    """

    def __init__(self, workdir: epath.Path, batch_ids: Callable[[int], Sequence[str]]):
        self._workdir, self._batch_ids = workdir, batch_ids
        self._pending: list[tuple[int, Metrics]] = []

    def add(self, step: int, metrics: Metrics) -> None:
        """Takes the metrics of the step from `step` to the next, without waiting for the device."""
        self._pending.append((step, metrics))

    def check(self) -> None:
        """Looks at all steps that were added since the last time.

        Raises:
          DivergenceError: if the loss of one is no number; `WORKDIR/diverged-STEP.json` then has
            its losses and the ids of its batch.
        """
        pending, self._pending = self._pending, []
        for step, metrics in jax.device_get(pending):
            if not math.isfinite(metrics["loss"]):
                self._stop(step, {name: float(value) for name, value in metrics.items()})

    def _stop(self, step: int, metrics: dict[str, float]) -> None:
        ids = [
            each
            for text in gather_texts(json.dumps(list(self._batch_ids(step))))
            for each in json.loads(text)
        ]
        path = self._workdir / f"diverged-{step}.json"
        if jax.process_index() == 0:
            # JSON has no NaN.
            figures = {k: v if math.isfinite(v) else str(v) for k, v in metrics.items()}
            content = {"step": step, "metrics": figures, "ids": ids}
            write_whole(path, json.dumps(content, indent=1).encode())
        terms = ", ".join(
            f"{name} {value:g}" for name, value in metrics.items() if name.endswith("loss")
        )
        raise DivergenceError(
            f"the loss of step {step} is no number ({terms}), so the run stops; the ids of that "
            f"batch's shapes are in {path}, and checkpoints from before it are kept.  Look at "
            "those shapes, or train with a lower config.optim.learning_rate in another --workdir"
        )
