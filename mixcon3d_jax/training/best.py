"""Keeps the weights with the highest value of one figure, if the config names one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mixcon3d_jax.training.checkpoint import Checkpoints
from mixcon3d_jax.training.state import TrainState

BEST_FOLDER = "best"


class BestCheckpoint:
    """The one checkpoint in `workdir/best`, which survives interruptions.

    Args:
      workdir: of the run.
      figure: `WEIGHTS/BENCHMARK/MODE/METRIC`; empty keeps nothing.
    """

    def __init__(self, workdir: Path, figure: str):
        self._workdir, self._figure = workdir, figure

    def offer(
        self, state: TrainState, figures: Mapping[str, float], meta: Mapping[str, Any]
    ) -> None:
        """Saves the state if its figure is higher than that of the one in `workdir/best`.

        Raises:
          CheckpointError: if it can't be saved.
        """
        if not self._figure:
            return
        value = figures[self._figure]
        with Checkpoints(self._workdir, keep=1, folder=BEST_FOLDER) as checkpoints:
            known = checkpoints.latest_step()
            if known is not None and checkpoints.meta(known)["best"]["value"] >= value:
                return
            best = {"figure": self._figure, "value": value}
            checkpoints.save(state, {**meta, "best": best})
            checkpoints.wait()
