"""The training loop: evaluate, save, next batch, step - in this order; at the end save, evaluate.

A step's batch and randomness follow from its number, so a run that is continued from a checkpoint
does what it would have done anyway.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from mixcon3d_jax.buckets import AnyPath
from mixcon3d_jax.data.pipeline import train_batches
from mixcon3d_jax.models.variables import parameter_count
from mixcon3d_jax.sharding import batch_sharding, check_batch
from mixcon3d_jax.training import run_config
from mixcon3d_jax.training.best import BestCheckpoint
from mixcon3d_jax.training.checkpoint import CheckpointError, Checkpoints
from mixcon3d_jax.training.curves import plot_curves
from mixcon3d_jax.training.log import TrainingLog, format_seconds
from mixcon3d_jax.training.optimizer import make_optimizer, trained_mask
from mixcon3d_jax.training.run_data import open_run_data
from mixcon3d_jax.training.state import TrainState, abstract_state, initial_state
from mixcon3d_jax.training.step import compile_train_step
from mixcon3d_jax.training.workdir import claim_workdir

Evaluate = Callable[[TrainState, tuple[str, ...]], dict[str, float]]


def train(config: ConfigDict, workdir: AnyPath, mesh: Mesh, evaluate: Evaluate) -> TrainState:
    """Trains to the end, from the newest checkpoint in `workdir` if there is one.

    Args:
      config: of the run.
      workdir: for checkpoints, metrics and curves.
      mesh: to train on.
      evaluate: called at `config.eval.every_steps` and at the end, with the state and the modules
        of it whose weights mean nothing (those that an import lacked and that are frozen).

    Returns:
      The final state.

    Raises:
      InputError: if data, config and workdir don't fit each other.
    """
    run_config.check_values(config)
    check_batch(config.optim.batch_size, mesh, "config.optim.batch_size")
    data = open_run_data(config)
    step_config = run_config.step_config(config, len(data.source))
    claim_workdir(workdir, config, data.checksums)
    total = step_config.optimizer.total_steps
    optimizer = make_optimizer(step_config.optimizer)
    abstract = abstract_state(step_config.model, optimizer, mesh)
    meta = {
        "config": config.to_dict(),
        "clip_id": data.card.clip_id,
        "up_axis": data.card.up_axis,
        "color_rule": data.card.color_rule,
        "num_records": len(data.source),
    }

    with Checkpoints(workdir, config.checkpoint.keep) as checkpoints:
        start = checkpoints.latest_step()
        if start is None:
            start = 0
            state = initial_state(step_config.model, optimizer, mesh, config.seed)
        else:
            _check_start(start, total)
            state = checkpoints.restore(abstract)
            meta["missing"] = _still_missing(checkpoints.meta(start), state, step_config.frozen)
        _announce(state, len(data.source), start, total, mesh)
        step_fn = compile_train_step(step_config, mesh, abstract)
        batches = train_batches(
            data.source,
            run_config.train_pipeline(config),
            config.optim.batch_size,
            batch_sharding(mesh),
            start,
            data.order,
        )
        log = TrainingLog(
            workdir,
            config,
            start_step=start,
            total_steps=total,
            batch_size=config.optim.batch_size,
        )
        best = BestCheckpoint(
            workdir, config.checkpoint.best_by, run_config.evaluation_settings(config)
        )

        def evaluate_and_keep(step: int) -> None:
            figures = evaluate(state, tuple(meta.get("missing", ())))
            log.evaluation(step, figures)
            best.offer(state, figures, meta)

        began = time.perf_counter()
        for step in range(start, total):
            if step > start and _due(step, config.eval.every_steps):
                evaluate_and_keep(step)
                log.restart_clock()
            if step > start and _due(step, config.checkpoint.every_steps):
                log.flush()
                checkpoints.save(state, meta)
            state, metrics = step_fn(state, next(batches))
            log.add(metrics)
            if step == start:
                jax.block_until_ready(metrics)
                _say(f"first step done after {format_seconds(time.perf_counter() - began)}")
                log.restart_clock()
            if _due(step + 1, config.log.every_steps) or step + 1 == total:
                log.report(step + 1)
        if total > start:
            log.flush()
            checkpoints.save(state, meta)
            checkpoints.wait()
        # Last, so that whatever happens in it costs no training.
        evaluate_and_keep(total)
        log.close()
    if jax.process_index() == 0:
        plot_curves(workdir)
    return state


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _check_start(start: int, total: int) -> None:
    if start > total:
        raise CheckpointError(
            f"the newest checkpoint is of step {start:,}, beyond the {total:,} steps of this run; "
            "raise config.optim.epochs to train on, or use another --workdir"
        )


def _still_missing(meta: dict[str, Any], state: TrainState, frozen: str) -> list[str]:
    """Modules that a checkpoint lacked, and that this run does not train either."""
    trained = trained_mask(state.params, frozen)
    return [
        module
        for module in meta.get("missing", ())
        if not any(jax.tree.leaves(trained.get(module, {})))
    ]


def _announce(state: TrainState, records: int, start: int, total: int, mesh: Mesh) -> None:
    shape = " x ".join(f"{name} {size}" for name, size in mesh.shape.items())
    _say(f"{parameter_count(state.params):,} parameters, {records:,} shapes, mesh {shape}")
    if start:
        _say(f"continuing from step {start} of {total}")
    if start < total:
        _say("compiling the training step ...")


def _say(message: str) -> None:
    if jax.process_index() == 0:
        print(message, flush=True)
