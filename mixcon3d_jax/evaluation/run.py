"""Evaluates a training state on all benchmarks of a config."""

from pathlib import Path

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from mixcon3d_jax.evaluation.benchmark import open_benchmark
from mixcon3d_jax.evaluation.report import format_table, write_figures
from mixcon3d_jax.evaluation.zero_shot import evaluate
from mixcon3d_jax.models.variables import model_structure
from mixcon3d_jax.sharding import check_batch
from mixcon3d_jax.training.run_config import evaluation_pipeline, model_config
from mixcon3d_jax.training.state import TrainState


def evaluate_state(
    config: ConfigDict, workdir: Path, mesh: Mesh, state: TrainState
) -> dict[str, float]:
    """Raw and EMA weights on every benchmark of `config.eval.benchmarks`.

    Prints a table and writes `workdir/eval/STEP.json`.

    Returns:
      `WEIGHTS/BENCHMARK/MODE/METRIC` -> figure (percent; `count` is a number of shapes).
    """
    check_batch(config.eval.batch_size, mesh, "config.eval.batch_size")
    structure, _, _ = model_structure(model_config(config))
    weights = {
        "ema": (state.ema_params, state.ema_stats),
        "raw": (state.params, state.stats),
    }
    figures = {}
    for name, entry in config.eval.benchmarks.items():
        benchmark = open_benchmark(
            name,
            Path(entry.path or config.data.path),
            entry.split,
            entry.among,
            config.clip.id,
            config.clip.embedding_size,
        )
        figures |= evaluate(
            benchmark,
            weights,
            structure,
            evaluation_pipeline(config),
            config.eval.batch_size,
            mesh,
        )
    if figures and jax.process_index() == 0:
        step = int(state.step)
        path = write_figures(workdir, step, figures)
        print(f"\nzero-shot at step {step}, percent ({path})\n{format_table(figures)}", flush=True)
    return figures
