"""Gathers what a report shows; whatever can't be had is named and left out."""

import dataclasses
from typing import Any

from jax.sharding import Mesh
from ml_collections import ConfigDict

from mixcon3d_jax.buckets import AnyPath
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.evaluation.benchmark import Benchmark
from mixcon3d_jax.evaluation.one_pass import Measured, Tasks, run_pass
from mixcon3d_jax.evaluation.run import open_named
from mixcon3d_jax.evaluation.saved import restore_state
from mixcon3d_jax.metrics import accuracies
from mixcon3d_jax.models.variables import model_structure
from mixcon3d_jax.reporting.evaluations import (
    Evaluation,
    evaluation_names,
    read_evaluation,
    step_of,
)
from mixcon3d_jax.sharding import check_batch
from mixcon3d_jax.training.best import BEST_FOLDER
from mixcon3d_jax.training.checkpoint import CHECKPOINTS_FOLDER
from mixcon3d_jax.training.curves import DRAWN
from mixcon3d_jax.training.metrics_file import METRICS_FILE, Row, read_metrics
from mixcon3d_jax.training.run_config import check_values, evaluation_pipeline, model_config

# Figures are rounded to one place behind the point.
_SAME = 0.05


@dataclasses.dataclass(frozen=True)
class Choice:
    """What of a run is shown.

    Attributes:
      step: which checkpoint; None for the newest.
      best: the one that `config.checkpoint.best_by` kept.
      weights: `ema` or `raw`, of which single shapes are shown.
      mode: of `EVALUATION_MODES`, how single shapes are looked at.
    """

    step: int | None = None
    best: bool = False
    weights: str = "ema"
    mode: str = "point"


@dataclasses.dataclass(frozen=True)
class Shown:
    """A benchmark, what was measured on it, and the mode of which single shapes are shown."""

    benchmark: Benchmark
    measured: Measured
    mode: str


@dataclasses.dataclass
class Collected:
    """All that there is of a run.

    Attributes:
      step: of the weights; None if there are neither weights nor figures.
      rows: reports of the training.
      evaluations: of that step, the one with the run's own settings first.
      shown: benchmarks that could be looked at.
      notes: what is left out, and why; what else a reader should know.
    """

    step: int | None = None
    rows: list[Row] = dataclasses.field(default_factory=list)
    evaluations: list[Evaluation] = dataclasses.field(default_factory=list)
    shown: list[Shown] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


def collect(config: ConfigDict, workdir: AnyPath, mesh: Mesh, choice: Choice) -> Collected:
    """Reads a workdir and looks at its benchmarks' shapes with its weights.

    Called on all processes of a run.

    Args:
      config: of the run.
      workdir: of the run.
      mesh: to compute on.
      choice: what is shown.

    Raises:
      InputError: if the config can't be used, or a checkpoint that was asked for isn't there.
    """
    check_values(config)
    check_batch(config.eval.batch_size, mesh, "config.eval.batch_size")
    found = Collected()
    _read_metrics(found, workdir)
    state, missing = None, ()
    try:
        folder = BEST_FOLDER if choice.best else CHECKPOINTS_FOLDER
        state, missing = restore_state(config, workdir, mesh, choice.step, folder)
        found.step = int(state.step)
    except InputError as error:
        if choice.best or choice.step is not None:
            raise
        found.notes.append(f"There are no weights, so single shapes are left out: {error}")
    _read_evaluations(found, workdir)
    if state is None:
        return found
    averaged = choice.weights == "ema"
    weights = (state.ema_params, state.ema_stats) if averaged else (state.params, state.stats)
    own = _look_at_benchmarks(found, config, mesh, choice, weights, missing)
    if not found.evaluations and own:
        found.evaluations.append(Evaluation(str(found.step), own, config.eval.to_dict()))
        found.notes.append(
            f"Step {found.step:,} has no evaluation in the workdir; the figures of the "
            f"{choice.weights} weights were measured for this page."
        )
    return found


def _read_metrics(found: Collected, workdir: AnyPath) -> None:
    try:
        rows = read_metrics(workdir)
    except InputError as error:
        found.notes.append(f"The training curves are left out: {error}")
        return
    if not rows:
        found.notes.append("There are no reports of a training (no metrics.jsonl).")
    elif all(isinstance(row, dict) and row.keys() >= set(DRAWN) for row in rows):
        found.rows = rows
    else:
        found.notes.append(
            f"The training curves are left out: {METRICS_FILE} is damaged, or of another version."
        )


def _read_evaluations(found: Collected, workdir: AnyPath) -> None:
    names = evaluation_names(workdir)
    if found.step is None and names:
        found.step = step_of(names[-1])
    for name in names:
        if step_of(name) != found.step:
            continue
        try:
            found.evaluations.append(read_evaluation(workdir, name))
        except InputError as error:
            found.notes.append(f"An evaluation is left out: {error}")


def _look_at_benchmarks(
    found: Collected,
    config: ConfigDict,
    mesh: Mesh,
    choice: Choice,
    weights: tuple[Any, Any],
    missing: tuple[str, ...],
) -> dict[str, float]:
    """Adds the benchmarks; returns their figures where the workdir has none."""
    structure, _, _ = model_structure(model_config(config))
    own: dict[str, float] = {}
    for name in config.eval.benchmarks:
        try:
            benchmark = open_named(config, name)
            if benchmark is None:
                found.notes.append(f"Benchmark {name} is left out: it has no data.")
                continue
            tasks = Tasks(retrieval=benchmark.retrieval, predictions=True)
            measured = run_pass(
                benchmark,
                {choice.weights: weights},
                structure,
                evaluation_pipeline(config, config.eval.seed),
                config.eval.batch_size,
                mesh,
                missing,
                tasks,
            )[choice.weights]
        except InputError as error:
            found.notes.append(f"Benchmark {name} is left out: {error}")
            continue
        mode = choice.mode
        if measured.counts and mode not in measured.counts:
            found.notes.append(f"Benchmark {name} can't be seen by {mode}, so it is by point.")
            mode = "point"
        found.shown.append(Shown(benchmark, measured, mode))
        if not found.evaluations:
            figures = measured.figures(mesh)
            own |= {f"{choice.weights}/{name}/{key}": value for key, value in figures.items()}
        elif measured.counts and config.eval.num_seeds == 1:
            _compare(found, f"{choice.weights}/{name}/{mode}/top1", measured, mode)
    return own


def _compare(found: Collected, key: str, measured: Measured, mode: str) -> None:
    """Notes a figure that isn't what the evaluation has."""
    here = accuracies(measured.counts[mode])["top1"]
    stored = found.evaluations[0].figures.get(key)
    if stored is not None and abs(stored - here) > _SAME:
        found.notes.append(
            f"{key} is {stored:.1f} in evaluation {found.evaluations[0].name} and {here:.1f} on "
            "this page: data, settings or the program have changed since."
        )
