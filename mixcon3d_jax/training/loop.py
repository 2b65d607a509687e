"""The training loop: save, evaluate, next batch, step - in this order; at the end save, evaluate.

A step's batch and randomness follow from its number, so a run that is continued from a checkpoint
does what it would have done anyway.  An evaluation comes after the save of its step, so that it
costs no training if the run ends in it; a run that starts at that step evaluates again.
"""

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from mixcon3d_jax.buckets import AnyPath, as_path
from mixcon3d_jax.data.pipeline import train_batches
from mixcon3d_jax.distributed.agreement import on_every_process
from mixcon3d_jax.distributed.compilation import CompiledTogether
from mixcon3d_jax.distributed.processes import say
from mixcon3d_jax.models.variables import Tree, parameter_count
from mixcon3d_jax.sharding import batch_sharding, check_accumulation, check_batch, local_rows
from mixcon3d_jax.training import run_config
from mixcon3d_jax.training.best import BestCheckpoint
from mixcon3d_jax.training.checkpoint import CheckpointError, Checkpoints
from mixcon3d_jax.training.claim import claimed
from mixcon3d_jax.training.curves import plot_curves
from mixcon3d_jax.training.divergence import LossWatch
from mixcon3d_jax.training.log import TrainingLog, format_seconds
from mixcon3d_jax.training.optimizer import make_optimizer, trained_mask
from mixcon3d_jax.training.preemption import PreemptedError, PreemptionWatch
from mixcon3d_jax.training.program_cache import program_cache
from mixcon3d_jax.training.run_data import RunData, open_run_data
from mixcon3d_jax.training.state import TrainState, abstract_state, initial_state
from mixcon3d_jax.training.step import Batch, StepConfig, compile_train_step
from mixcon3d_jax.training.step_profile import StepProfile, check_profile, profiled_steps
from mixcon3d_jax.training.targets import open_target_clip

Evaluate = Callable[[TrainState, tuple[str, ...]], dict[str, float]]


def train(config: ConfigDict, workdir: AnyPath, mesh: Mesh, evaluate: Evaluate) -> TrainState:
    """Trains to the end, from the newest sound checkpoint in `workdir` if there is one.

    Args:
      config: of the run.
      workdir: for checkpoints, metrics and curves; the same folder or bucket for all processes.
      mesh: to train on.
      evaluate: called at `config.eval.every_steps` and at the end, with the state and the modules
        of it whose weights mean nothing (those that an import lacked and that are frozen).

    Returns:
      The final state.

    Raises:
      InputError: if data, config and workdir don't fit each other, or the loss is no number.
      PreemptedError: if a process got SIGTERM; the state is saved then.
    """
    workdir = as_path(workdir)
    run_config.check_values(config)
    check_batch(config.optim.batch_size, mesh, "config.optim.batch_size")
    check_accumulation(config.optim.batch_size, config.optim.accum_steps, mesh)
    rows = local_rows(batch_sharding(mesh), config.optim.batch_size)
    clip = on_every_process(lambda: open_target_clip(config, mesh))
    data = on_every_process(lambda: open_run_data(config, rows, clip))
    steps = run_config.step_config(config, len(data.source))
    profiled = profiled_steps(config.profile)
    check_profile(profiled, steps.optimizer.total_steps)
    with (
        PreemptionWatch() as preemption,
        claimed(workdir, config, data.checksums) as check_claim,
        program_cache(workdir, config.compilation_cache) as programs,
        Checkpoints(
            workdir, config.checkpoint.keep, keep_every=config.checkpoint.keep_every
        ) as checkpoints,
        StepProfile(workdir, profiled) as profile,
    ):
        state, missing = _begin(config, steps, mesh, checkpoints)
        start, total = int(state.step), steps.optimizer.total_steps
        _announce(state, len(data.source), start, total, mesh)
        if profiled and start >= profiled.stop:
            say(f"nothing is profiled: steps {config.profile} (config.profile) are done already")
        log = TrainingLog(
            workdir,
            config,
            start_step=start,
            total_steps=total,
            batch_size=config.optim.batch_size,
        )
        with contextlib.closing(log):
            run = _Run(
                config,
                total,
                data,
                missing,
                workdir,
                mesh,
                checkpoints,
                preemption,
                log,
                check_claim,
                profile,
                programs,
            )
            towers, frozen = (clip.towers, (clip.weights,)) if clip else (None, ())
            step_fn = CompiledTogether(compile_train_step(steps, mesh, state, towers))
            state = run.to_the_end(state, step_fn, frozen, evaluate)
    if jax.process_index() == 0:
        plot_curves(workdir)
    return state


@dataclasses.dataclass(frozen=True)
class _Run:
    """What the loop works with beside the state."""

    config: ConfigDict
    total: int
    data: RunData
    missing: tuple[str, ...]
    workdir: AnyPath
    mesh: Mesh
    checkpoints: Checkpoints
    preemption: PreemptionWatch
    log: TrainingLog
    check_claim: Callable[[], None]
    profile: StepProfile
    programs: str

    def to_the_end(
        self,
        state: TrainState,
        step_fn: CompiledTogether,
        frozen: tuple[Tree, ...],
        evaluate: Evaluate,
    ) -> TrainState:
        config, total, log, profile = self.config, self.total, self.log, self.profile
        start = int(state.step)
        losses = LossWatch(self.workdir, self._batch_ids)
        best = BestCheckpoint(
            self.workdir, config.checkpoint.best_by, run_config.evaluation_settings(config)
        )

        def save() -> None:
            losses.check()
            self.check_claim()
            log.flush()
            self.checkpoints.save(state, self._meta())

        def evaluate_and_keep(step: int) -> None:
            losses.check()
            figures = evaluate(state, self.missing)
            log.evaluation(step, figures)
            best.offer(state, figures, self._meta())
            log.restart_clock()

        batches = self._batches(start)
        if start < total:
            batches = self._compile(step_fn, state, batches, frozen)
        for step in range(start, total):
            if profile.stop_if_due(step, state):
                log.restart_clock()
            # Not before the first step: whoever is asked to leave again and again still gets on.
            preempted = step > start and self.preemption.reached()
            if preempted or (step > start and _due(step, config.checkpoint.every_steps)):
                save()
            if preempted:
                self.checkpoints.wait()
                raise PreemptedError(step)
            if step and _due(step, config.eval.every_steps):
                evaluate_and_keep(step)
            began = time.perf_counter()
            profile.start_if_due(step, state)
            with jax.profiler.StepTraceAnnotation("train", step_num=step):
                state, metrics = step_fn(state, next(batches), *frozen)
            log.add(metrics)
            losses.add(step, metrics)
            if step == start:
                jax.block_until_ready(metrics)
                say(f"first step done after {format_seconds(time.perf_counter() - began)}")
                log.restart_clock()
            if _due(step + 1, config.log.every_steps) or step + 1 == total:
                losses.check()
                log.report(step + 1)
        profile.stop_if_due(total, state)
        if total > start:
            save()
            self.checkpoints.wait()
        evaluate_and_keep(total)
        return state

    def _compile(
        self,
        step_fn: CompiledTogether,
        state: TrainState,
        batches: Iterator[Batch],
        frozen: tuple[Tree, ...],
    ) -> Iterator[Batch]:
        """Compiles the step for the first batch; returns the same batches."""
        say("compiling the training step ...")
        first = next(batches)
        compilation = step_fn.compile(state, first, *frozen)
        source = f" (from {self.programs})" if compilation.from_cache else ""
        say(f"compiled in {format_seconds(compilation.seconds)}{source}")
        self.log.restart_clock()
        return itertools.chain([first], batches)

    def _batches(self, start: int) -> Iterator[Batch]:
        return train_batches(
            self.data.source,
            self.data.pipeline,
            self.config.optim.batch_size,
            batch_sharding(self.mesh),
            start,
            self.data.order,
        )

    def _batch_ids(self, step: int) -> list[str]:
        size = self.config.optim.batch_size
        return self.data.ids(step * size + local_rows(batch_sharding(self.mesh), size))

    def _meta(self) -> dict[str, Any]:
        card = self.data.card
        meta = {
            "config": self.config.to_dict(),
            "clip_id": card.clip_id,
            "up_axis": card.up_axis,
            "color_rule": card.color_rule,
            "num_records": len(self.data.source),
        }
        if "clip" in self.data.checksums:
            meta["clip_fingerprint"] = self.data.checksums["clip"]
        return meta | ({"missing": list(self.missing)} if self.missing else {})


def _begin(
    config: ConfigDict, steps: StepConfig, mesh: Mesh, checkpoints: Checkpoints
) -> tuple[TrainState, tuple[str, ...]]:
    """The state to start from, and the modules whose weights mean nothing in it."""
    optimizer = make_optimizer(steps.optimizer)
    start = checkpoints.newest_sound()
    if start is None:
        return initial_state(steps.model, optimizer, mesh, config.seed), ()
    total = steps.optimizer.total_steps
    if start > total:
        raise CheckpointError(
            f"the newest checkpoint is of step {start:,}, beyond the {total:,} steps of this run; "
            "raise config.optim.epochs to train on, or use another --workdir"
        )
    state = checkpoints.restore(abstract_state(steps.model, optimizer, mesh), start)
    trained = trained_mask(state.params, steps.frozen)
    # What an import lacked, and this run does not train either.
    missing = tuple(
        module
        for module in checkpoints.meta(start).get("missing", ())
        if not any(jax.tree.leaves(trained.get(module, {})))
    )
    return state, missing


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _announce(state: TrainState, records: int, start: int, total: int, mesh: Mesh) -> None:
    shape = " x ".join(f"{name} {size}" for name, size in mesh.shape.items())
    say(f"{parameter_count(state.params):,} parameters, {records:,} shapes, mesh {shape}")
    if start:
        say(f"continuing from step {start} of {total}")
