"""Evaluates training states on all benchmarks of a config."""

from pathlib import Path

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from mixcon3d_jax.buckets import AnyPath, as_path, is_remote
from mixcon3d_jax.data.source import read_card
from mixcon3d_jax.data.staging import stage_dataset
from mixcon3d_jax.data.writer import CARD_FILE
from mixcon3d_jax.distributed.processes import say
from mixcon3d_jax.evaluation.benchmark import Benchmark, open_benchmark
from mixcon3d_jax.evaluation.one_pass import evaluate
from mixcon3d_jax.evaluation.report import format_table, write_figures
from mixcon3d_jax.files import read_whole
from mixcon3d_jax.metrics import mean_and_std
from mixcon3d_jax.models.variables import model_structure
from mixcon3d_jax.sharding import check_batch
from mixcon3d_jax.training.run_config import (
    check_values,
    data_root,
    evaluation_pipeline,
    model_config,
    retrieval_benchmarks,
)
from mixcon3d_jax.training.state import TrainState


class Evaluator:
    """Raw and EMA weights on every benchmark of `config.eval.benchmarks`.

    Made before training starts, so that a benchmark that can't be opened stops a run at once.

    Args:
      config: of the run.
      workdir: where figures go.
      mesh: to compute on.
      label: added to the step in the name of the file with the figures.

    Raises:
      InputError: if a benchmark's data, the config and the mesh don't fit each other.
    """

    def __init__(self, config: ConfigDict, workdir: AnyPath, mesh: Mesh, label: str = ""):
        check_values(config)
        check_batch(config.eval.batch_size, mesh, "config.eval.batch_size")
        self._config, self._workdir, self._mesh, self._label = config, workdir, mesh, label
        self._structure, _, _ = model_structure(model_config(config))
        self._benchmarks = open_benchmarks(config)

    def __call__(self, state: TrainState, missing: tuple[str, ...] = ()) -> dict[str, float]:
        """Prints a table and writes `workdir/eval/STEP.json`.

        Args:
          state: to evaluate.
          missing: modules whose weights mean nothing (see `shape_embeddings`).

        Returns:
          `WEIGHTS/BENCHMARK/MODE/METRIC` -> figure (percent; `count` is a number of shapes or of
          texts, `median_rank` a rank); over several seeds the mean, and `METRIC_std` the standard
          deviation.
        """
        config = self._config
        weights = {
            "ema": (state.ema_params, state.ema_stats),
            "raw": (state.params, state.stats),
        }
        figures = {}
        for benchmark in self._benchmarks:
            runs = [
                evaluate(
                    benchmark,
                    weights,
                    self._structure,
                    evaluation_pipeline(config, config.eval.seed + repetition),
                    config.eval.batch_size,
                    self._mesh,
                    missing,
                )
                for repetition in range(config.eval.num_seeds)
            ]
            found = runs[0] if len(runs) == 1 else mean_and_std(runs)
            if benchmark.retrieval and not any(key.endswith("median_rank") for key in found):
                say(f"{benchmark.name} has neither texts nor views to look for, so no retrieval")
            figures |= found
        if jax.process_index() > 0:
            return figures
        if not figures:
            print("no benchmark has any data, so nothing was evaluated", flush=True)
        else:
            step = int(state.step)
            name = f"{step}-{self._label}" if self._label else str(step)
            path = write_figures(self._workdir, name, figures, config.eval.to_dict())
            table = format_table(figures)
            print(f"\nat step {step}, percent ({path})\n{table}", flush=True)
        return figures


def open_benchmarks(config: ConfigDict) -> list[Benchmark]:
    """The benchmarks of `config.eval.benchmarks`, without optional ones that have no data.

    Raises:
      SchemaError: if a data set does not fit the config.
    """
    opened = [open_named(config, name) for name in config.eval.benchmarks]
    return [benchmark for benchmark in opened if benchmark is not None]


def open_named(config: ConfigDict, name: str) -> Benchmark | None:
    """One of the benchmarks of `config.eval.benchmarks`; None if it is optional and has no data.

    Raises:
      SchemaError: if its data set does not fit the config.
    """
    entry = config.eval.benchmarks[name]
    path = Path(entry.path)
    directory = path if path.is_absolute() else data_root(config) / path
    if is_remote(config.data.root) and not path.is_absolute():
        _stage(config, entry)
    if not entry.required and not _has_split(directory, entry.split):
        say(f"benchmark {name} is left out: {directory} has no split {entry.split!r}")
        return None
    benchmark = open_benchmark(
        name,
        directory,
        entry.split,
        entry.among,
        config.clip.id,
        config.clip.embedding_size,
        retrieval=name in retrieval_benchmarks(config),
    )
    if not benchmark.classes:
        say(f"benchmark {name}: shapes have no classes, so retrieval alone is measured")
    return benchmark


def _stage(config: ConfigDict, entry: ConfigDict) -> None:
    """Copies a benchmark from the bucket, unless it is optional and not there."""
    source = as_path(config.data.root) / entry.path
    if entry.required or read_whole(source / CARD_FILE) is not None:
        stage_dataset(config.data.root, data_root(config), entry.path, entry.split)


def _has_split(directory: Path, split: str) -> bool:
    return (directory / CARD_FILE).exists() and bool(read_card(directory).splits.get(split))
