"""Host memory over a long run.

    python -m benchmarks.long_run [--steps=3000] [--every=100] [--settled=500] [--json]

Trains a tiny model on generated shapes by the training loop itself, with a report every 20 steps, a
checkpoint and an evaluation every 100.  Before each evaluation it reads the resident memory of the
process (Linux), and how much is in use: what `malloc` has handed out (glibc); the rest is freed
memory in pieces.  The last rows are slopes of lines through what was read from step `--settled` on,
when all programs are compiled and buffers have their size, with their standard errors.
"""

import argparse
import contextlib
import ctypes
import gc
import os
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np

from benchmarks.timing import report
from mixcon3d_jax.evaluation.run import Evaluator
from mixcon3d_jax.host_memory import keep_freed_memory
from mixcon3d_jax.sharding import make_mesh
from mixcon3d_jax.training.loop import train
from mixcon3d_jax.training.state import TrainState
from tests.generated import make_dataset, small_config

_SHAPES = 64


class _Malloc(ctypes.Structure):
    """What mallinfo2(3) returns."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def memory() -> dict[str, float]:
    """Memory of this process, in MiB, by what it is."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _Malloc
    gc.collect()
    found = mallinfo()
    return {
        "resident, MiB": pages * os.sysconf("SC_PAGESIZE") / 2**20,
        "in use, MiB": (found.uordblks + found.hblkhd) / 2**20,
    }


def run(steps: int, every: int) -> dict[int, dict[str, float]]:
    """Trains so many steps; returns the memory by step."""
    found: dict[int, dict[str, float]] = {}
    mesh = make_mesh(1, 1, 1, jax.devices()[:1])
    with tempfile.TemporaryDirectory() as folder:
        config = small_config(make_dataset(Path(folder) / "data", train=_SHAPES))
        config.optim.epochs = steps * config.optim.batch_size / _SHAPES
        config.log.every_steps = 20
        config.checkpoint.every_steps = config.eval.every_steps = every
        evaluator = Evaluator(config, Path(folder) / "run", mesh)

        def evaluate(state: TrainState, missing: tuple[str, ...]) -> dict[str, float]:
            found[int(state.step)] = memory()
            return evaluator(state, missing)

        with contextlib.redirect_stdout(sys.stderr):
            train(config, Path(folder) / "run", mesh, evaluate)
    return found


def slope(found: dict[int, dict[str, float]], kind: str) -> dict[str, str | float]:
    """A line through the figures of a kind."""
    kib = [1024 * figures[kind] for figures in found.values()]
    line, covariance = np.polyfit(np.array([*found]) / 1000, kib, 1, cov=True)
    error = float(np.sqrt(covariance[0, 0]))
    return {"slope of": kind, "KiB / 1,000 steps": float(line[0]), "standard error": error}


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
    keep_freed_memory()  # as `mixcon3d_jax.train` does
    found = run(args.steps, args.every)
    settled = {step: figures for step, figures in found.items() if step >= args.settled}
    rows = [{"step": step} | figures for step, figures in found.items()]
    rows += [slope(settled, kind) for kind in found[args.every]]
    report(rows, as_json=args.json)


if __name__ == "__main__":
    main()
