"""Which checkpoint is kept as the best."""

import jax.numpy as jnp
import pytest

from mixcon3d_jax.training.best import BEST_FOLDER, BestCheckpoint
from mixcon3d_jax.training.checkpoint import CheckpointError, Checkpoints
from mixcon3d_jax.training.run_config import ConfigError
from mixcon3d_jax.training.state import TrainState

FIGURE = "ema/bench/point/top1"


def offer(workdir, step: int, value: float, figure: str = FIGURE, **settings) -> None:
    state = TrainState(jnp.int32(step), {"a": jnp.ones(2)}, {}, (), {}, {})
    best = BestCheckpoint(workdir, figure, {"num_views": 4} | settings)
    best.offer(state, {figure: value, "ema/bench/point/count": 9}, {"config": {}})


def kept(workdir) -> tuple[int, float]:
    with Checkpoints(workdir, 1, BEST_FOLDER, read_only=True) as checkpoints:
        return checkpoints.newest_sound(), checkpoints.meta()["best"]["value"]


def test_a_higher_figure_replaces_a_lower_one(tmp_path):
    for step, value, expected in ((1, 10, (1, 10)), (2, 30, (2, 30)), (3, 20, (2, 30))):
        offer(tmp_path, step, value)
        assert kept(tmp_path) == expected


def test_a_run_that_was_set_back_may_become_better(tmp_path):
    offer(tmp_path, 8, 10)
    offer(tmp_path, 4, 20)
    assert kept(tmp_path) == (4, 20)


@pytest.mark.parametrize(
    "change", [{"figure": "raw/bench/point/top1"}, {"num_views": 12}], ids=["figure", "settings"]
)
def test_other_figures_are_not_compared(tmp_path, change):
    offer(tmp_path, 4, 30)
    offer(tmp_path, 4, 10, **change)
    assert kept(tmp_path) == (4, 10)


def test_a_figure_that_there_is_not_lists_those_that_there_are(tmp_path):
    best = BestCheckpoint(tmp_path, "ema/bench/image/top1", {})
    with pytest.raises(ConfigError, match="'ema/bench/image/top1', but the figures are: " + FIGURE):
        best.offer(None, {FIGURE: 1.0, "ema/bench/point/count": 9}, {})


def test_no_figure_keeps_nothing(tmp_path):
    BestCheckpoint(tmp_path, "", {}).offer(None, {FIGURE: 1.0}, {})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(CheckpointError, match=r"best holds no finished checkpoint; .*best_by"):
        kept(tmp_path)
    assert list(tmp_path.iterdir()) == []
