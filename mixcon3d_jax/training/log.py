"""What a run reports while it goes: terminal, `metrics.jsonl`, wandb."""

import math
import time
from typing import Any

import jax
import numpy as np

from mixcon3d_jax.buckets import AnyPath
from mixcon3d_jax.models.mixcon3d import TEMPERATURES
from mixcon3d_jax.training.metrics_file import MetricsFile
from mixcon3d_jax.training.step import Metrics
from mixcon3d_jax.training.tracking import start_tracking


class TrainingLog:
    """Averages metrics between reports and writes them.

    Only process 0 writes.  Steps at or after `start_step` that an interrupted run has already
    reported are dropped, since they will be run again.
    """

    def __init__(
        self, workdir: AnyPath, config: Any, *, start_step: int, total_steps: int, batch_size: int
    ):
        self._total, self._batch = total_steps, batch_size
        self._pending: list[Metrics] = []
        self._timed = 0  # pending steps since the clock was started
        self._since = time.perf_counter()
        self._seconds_a_step = math.nan  # until a step has been timed
        self._writes = jax.process_index() == 0
        self._run = None
        if not self._writes:
            return
        self._file = MetricsFile(workdir, start_step)
        if config.log.wandb != "disabled":
            self._run = start_tracking(workdir, config)

    def restart_clock(self) -> None:
        """Leaves everything up to now (compiling, evaluating) out of the speed."""
        self._since, self._timed = time.perf_counter(), 0

    def add(self, metrics: Metrics) -> None:
        """Takes the metrics of a step, without waiting for the device."""
        self._pending.append(metrics)
        self._timed += 1

    def report(self, step: int) -> dict[str, float]:
        """Writes the means since the last report; `step` updates are done."""
        fetched = jax.device_get(self._pending)
        now = time.perf_counter()
        row = {name: float(np.mean([m[name] for m in fetched])) for name in fetched[0]}
        row["learning_rate"] = float(fetched[-1]["learning_rate"])
        if self._timed:
            self._seconds_a_step = (now - self._since) / self._timed
        speed = ""
        if not math.isnan(self._seconds_a_step):
            row["clouds_per_second"] = self._batch / self._seconds_a_step
            left = format_seconds(self._seconds_a_step * (self._total - step))
            speed = f"  {row['clouds_per_second']:.0f} clouds/s  {left} left"
        self._pending = []
        self.restart_clock()
        if self._writes:
            accuracies = " ".join(
                f"{_short(name)} {100 * row[f'{name}_accuracy']:.0f}%" for name in TEMPERATURES
            )
            print(
                f"step {step}/{self._total}  loss {row['loss']:.3f}  {accuracies}{speed}",
                flush=True,
            )
            self._file.add({"step": step, **row})
            if self._run is not None:
                self._run.log(row, step=step)
        return row

    def evaluation(self, step: int, figures: dict[str, float]) -> None:
        """Adds an evaluation's figures to wandb."""
        if self._run is not None:
            self._run.log(figures, step=step)

    def flush(self) -> None:
        """Returns when all reports are where a process that continues this run finds them.

        Called before a checkpoint is saved: reports up to its step are never written again.

        Raises:
          WriteError: if they can't be written.
        """
        if self._writes:
            self._file.flush()

    def close(self) -> None:
        """Finishes the files."""
        if self._writes:
            self._file.close()
        if self._run is not None:
            self._run.finish()


def format_seconds(seconds: float) -> str:
    """For people: `45 s`, `3 min 20 s`, `5 h 12 min`."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def _short(term: str) -> str:
    return "-".join(word[0] for word in term.split("_"))
