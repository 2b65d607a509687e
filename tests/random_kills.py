"""Kills training at random moments and compares what it ends with.

python -m tests.random_kills --runs=20 --seed=0 [--processes=2]

Each run is killed (SIGKILL) once or more, at a moment drawn from the seed: anywhere, while a
checkpoint is being saved, or while a benchmark is evaluated.  Started again until it finishes, it
has to end with the same bits as a run that was left alone: weights, statistics, moments, averages,
step, the best checkpoint and the figures of every evaluation.  Exit status 1 if one doesn't.
"""

import argparse
import contextlib
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from mixcon3d_jax.sharding import make_mesh, use_virtual_cpu_devices
from mixcon3d_jax.training.checkpoint import Checkpoints
from mixcon3d_jax.training.optimizer import make_optimizer
from mixcon3d_jax.training.run_config import step_config
from mixcon3d_jax.training.state import abstract_state
from tests.generated import make_dataset, small_config
from tests.processes import Run, run, write_config_file

MOMENTS = ("anywhere", "saving", "evaluating")
FLAGS = (
    "--config.model.encoder.depth=1",
    "--config.optim.epochs=6.0",
    "--config.log.every_steps=1",
    "--config.checkpoint.every_steps=3",
    "--config.eval.every_steps=5",
    "--config.checkpoint.best_by=ema/held_out/point/top1",
    # How long the others wait for one that was killed.
    "--config.distributed.timeout_seconds=60",
    "--config.distributed.heartbeat_seconds=10",
)
_POLL_SECONDS = 0.002
_DEVICES = 2  # of all processes together


class Trial:
    """Runs in a folder with a data set and a config file of their own."""

    def __init__(self, folder: Path, processes: int):
        self._folder, self._processes = folder, processes
        make_dataset(folder / "data")
        self._config = write_config_file(folder, folder / "data")
        # Otherwise most of the time goes into compiling the same programs again.
        self._environment = {
            "JAX_COMPILATION_CACHE_DIR": str(folder / "programs"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }

    def start(self, name: str):
        """A run in the workdir `name`, new or continued."""
        return run(
            self._config,
            self._folder / name,
            FLAGS,
            count=self._processes,
            devices=_DEVICES // self._processes,
            logs=self._folder / f"{name}-logs",
            environment=self._environment,
        )

    def finish(self, name: str) -> float:
        """Lets a run finish; returns how many seconds it took."""
        began = time.monotonic()
        with self.start(name) as started:
            statuses = started.wait()
            if any(statuses):
                raise SystemExit(f"{name} ended with {statuses}\n{started.logs()}")
        return time.monotonic() - began

    def kill(self, name: str, moment: str, seconds: float, rng: random.Random) -> str:
        """Starts a run and kills one of its processes; returns what it was doing, for people."""
        with self.start(name) as started:
            victim = rng.randrange(self._processes)
            _wait_for(moment, self._folder / name, started, seconds, rng)
            doing = _last_step(started)
            ended = [process.poll() for process in started.processes]
            if any(ended):
                raise SystemExit(f"{name} ended with {ended} by itself\n{started.logs()}")
            with contextlib.suppress(ProcessLookupError):  # it has finished
                os.killpg(started.processes[victim].pid, 9)
            for process in started.processes:
                process.wait(300)  # the others must end by themselves
        return doing

    def end_of(self, name: str) -> dict[str, object]:
        """Everything that a run leaves and that has to be the same."""
        workdir, found = self._folder / name, {}
        config = small_config("nowhere")
        config.model.encoder.depth = 1
        steps = step_config(config, num_records=1)
        mesh = make_mesh(1, 1, 1, jax.devices()[:1])
        abstract = abstract_state(steps.model, make_optimizer(steps.optimizer), mesh)
        for folder in ("checkpoints", "best"):
            with Checkpoints(workdir, 1, folder, read_only=True) as checkpoints:
                state = jax.device_get(checkpoints.restore(abstract))
            for path, leaf in jax.tree_util.tree_leaves_with_path(state):
                found[folder + jax.tree_util.keystr(path)] = np.asarray(leaf).tobytes()
        for path in sorted((workdir / "eval").glob("*.json")):
            found[path.name] = path.read_text()
        return found


def _wait_for(moment: str, workdir: Path, started: Run, seconds: float, rng: random.Random) -> None:
    """Returns at a random moment of the kind that is asked for, or when the run has ended."""
    began, delay, wanted = time.monotonic(), rng.random(), rng.randrange(1, 5)
    seen = 0
    was = False
    while any(process.poll() is None for process in started.processes):
        if moment == "anywhere":
            now = time.monotonic() - began > delay * seconds
        elif moment == "saving":
            now = any((workdir / "checkpoints").glob("*tmp*"))
        else:
            now = started.log().count("evaluating") > seen
        if now and not was:
            seen += 1
            if moment == "anywhere" or seen == wanted:
                time.sleep(0.0 if moment == "anywhere" else 0.1 * delay)
                return
        was = now and moment == "saving"
        time.sleep(_POLL_SECONDS)


def _last_step(started: Run) -> str:
    lines = [line for line in started.log().splitlines() if line.startswith("step ")]
    return lines[-1].split("  ")[0] if lines else "before its first step"


def check(folder: Path, runs: int, seed: int, processes: int) -> list[str]:
    """Kills and compares; returns what differed, nothing if all is well."""
    rng = random.Random(seed)
    trial = Trial(folder, processes)
    trial.finish("compiling")  # fills the cache
    seconds = trial.finish("left-alone")
    print(f"a run that is left alone takes {seconds:.1f} s", flush=True)
    expected, wrong = trial.end_of("left-alone"), []
    for number in range(runs):
        name, began = f"run-{number}", time.monotonic()
        kills = rng.choice((1, 1, 2))
        moments = [MOMENTS[(number + kill) % len(MOMENTS)] for kill in range(kills)]
        story = [f"{m}, {trial.kill(name, m, seconds, rng)}" for m in moments]
        trial.finish(name)
        found = trial.end_of(name)
        differing = [k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k)]
        wrong += [f"{name}: {key}" for key in differing]
        verdict = f"{len(differing)} DIFFER" if differing else "equal"
        killed = "; ".join(story)
        print(
            f"{number + 1}/{runs}  killed {killed}: {verdict}  {time.monotonic() - began:.0f} s",
            flush=True,
        )
    return wrong


def main(argv: list[str] | None = None) -> int:
    """Prints a line for each run."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.random_kills", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1, choices=(1, 2))
    flags = parser.parse_args(argv)
    use_virtual_cpu_devices(1)
    with tempfile.TemporaryDirectory() as folder:
        wrong = check(Path(folder), flags.runs, flags.seed, flags.processes)
    print("\n".join(wrong) or f"all {flags.runs} runs ended with the same bits")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
