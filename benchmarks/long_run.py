"""Host memory over a long run.

    python -m benchmarks.long_run [--steps=3000] [--every=100] [--settled=500] [--json]

Trains a tiny model on generated shapes by the training loop itself, with a report every 20 steps, a
checkpoint and an evaluation every 100, and reads the resident memory of the process (Linux) before
each evaluation.  The last row is the slope of a line through what was read from step `--settled`
on, when all programs are compiled and buffers have their size, with its standard error.
"""

import argparse
import contextlib
import os
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np

from benchmarks.timing import report
from mixcon3d_jax.evaluation.run import Evaluator
from mixcon3d_jax.sharding import make_mesh
from mixcon3d_jax.training.loop import train
from mixcon3d_jax.training.state import TrainState
from tests.generated import make_dataset, small_config

_SHAPES = 64


def resident_kib() -> float:
    """Memory of this process that is in RAM."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1024


def run(steps: int, every: int) -> dict[int, float]:
    """Trains so many steps; returns the resident memory in KiB by step."""
    found: dict[int, float] = {}
    mesh = make_mesh(1, 1, 1, jax.devices()[:1])
    with tempfile.TemporaryDirectory() as folder:
        config = small_config(make_dataset(Path(folder) / "data", train=_SHAPES))
        config.optim.epochs = steps * config.optim.batch_size / _SHAPES
        config.log.every_steps = 20
        config.checkpoint.every_steps = config.eval.every_steps = every
        evaluator = Evaluator(config, Path(folder) / "run", mesh)

        def evaluate(state: TrainState, missing: tuple[str, ...]) -> dict[str, float]:
            found[int(state.step)] = resident_kib()
            return evaluator(state, missing)

        with contextlib.redirect_stdout(sys.stderr):
            train(config, Path(folder) / "run", mesh, evaluate)
    return found


def main() -> None:
    """Prints what was read, and the slope."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--every", type=int, default=100, help="steps between two evaluations")
    parser.add_argument("--settled", type=int, default=500, help="first step that counts")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.settled + 3 * args.every > args.steps:
        parser.error("--steps has to be --settled and three times --every at least")
    found = run(args.steps, args.every)
    rows = [{"step": step, "resident, MiB": kib / 1024} for step, kib in found.items()]
    counted = {step: kib for step, kib in found.items() if step >= args.settled}
    line, covariance = np.polyfit(np.array([*counted]) / 1000, [*counted.values()], 1, cov=True)
    error = float(np.sqrt(covariance[0, 0]))
    rows.append({"KiB / 1,000 steps": float(line[0]), "standard error": error})
    report(rows, as_json=args.json)


if __name__ == "__main__":
    main()
