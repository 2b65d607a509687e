"""Keeps the weights with the highest value of one figure, if the config names one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mixcon3d_jax.training.checkpoint import CheckpointError, Checkpoints
from mixcon3d_jax.training.run_config import ConfigError
from mixcon3d_jax.training.state import TrainState

BEST_FOLDER = "best"


class BestCheckpoint:
    """The one checkpoint in `workdir/best`, which survives interruptions.

    Args:
      workdir: of the run.
      figure: `WEIGHTS/BENCHMARK/MODE/METRIC`; empty keeps nothing.
      settings: how figures are made.  Values of other figures or settings are not compared.
    """

    def __init__(self, workdir: Path, figure: str, settings: Mapping[str, Any]):
        self._workdir, self._figure, self._settings = workdir, figure, dict(settings)

    def offer(
        self, state: TrainState, figures: Mapping[str, float], meta: Mapping[str, Any]
    ) -> None:
        """Saves the state if its figure is higher than that of the one in `workdir/best`.

        Raises:
          ConfigError: if there is no such figure; the message lists those that there are.
          CheckpointError: if it can't be saved.
        """
        if not self._figure:
            return
        if self._figure not in figures:
            raise ConfigError(
                f"config.checkpoint.best_by is {self._figure!r}, but the figures are: "
                + ", ".join(key for key in figures if not key.endswith("/count"))
            )
        best = {
            "figure": self._figure,
            "settings": self._settings,
            "value": figures[self._figure],
        }
        with Checkpoints(self._workdir, keep=1, folder=BEST_FOLDER) as checkpoints:
            known = self._usable(checkpoints)
            if known is not None:
                earlier = checkpoints.meta(known)["best"]
                comparable = all(earlier.get(key) == best[key] for key in ("figure", "settings"))
                if comparable and earlier["value"] >= best["value"]:
                    return
                if known >= int(state.step):  # of another figure, or of a run that was set back
                    checkpoints.delete(known)
            checkpoints.save(state, {**meta, "best": best})
            checkpoints.wait()

    @staticmethod
    def _usable(checkpoints: Checkpoints) -> int | None:
        try:
            return checkpoints.newest_sound()
        except CheckpointError as error:
            print(f"{error}\nthe next best one takes its place", flush=True)
            for step in checkpoints.steps():
                checkpoints.delete(step)
            return None
