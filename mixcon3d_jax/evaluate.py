"""Zero-shot evaluation of a run: `python -m mixcon3d_jax.evaluate --workdir=DIR`.

The workdir knows its config; keys of evaluation can be changed as anywhere, for example
`--config.eval.num_views=12`.  `--benchmark=NAME=FOLDER` adds the data set in FOLDER, as often as it
is given; `--only=NAME,NAME` leaves out all others.

Figures go to `WORKDIR/eval/STEP.json`; what was changed is added to that name, as in
`eval/60-num_views=12.json`.
"""

import re
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from mixcon3d_jax import commands
from mixcon3d_jax.buckets import as_path, is_remote
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.evaluation.run import Evaluator
from mixcon3d_jax.training import run_config
from mixcon3d_jax.training.best import BEST_FOLDER
from mixcon3d_jax.training.checkpoint import CHECKPOINTS_FOLDER, Checkpoints
from mixcon3d_jax.training.optimizer import make_optimizer
from mixcon3d_jax.training.state import abstract_state
from mixcon3d_jax.training.workdir import read_config

_WORKDIR = flags.DEFINE_string("workdir", None, "The run's workdir.", required=True)
_STEP = flags.DEFINE_integer("step", None, "Which checkpoint; default the newest.")
_BEST = flags.DEFINE_bool("best", False, "The checkpoint that config.checkpoint.best_by kept.")
_BENCHMARKS = flags.DEFINE_multi_string(
    "benchmark", [], "NAME=FOLDER or NAME=FOLDER:SPLIT (default: test): one more benchmark."
)
_ONLY = flags.DEFINE_list("only", None, "Names of the benchmarks to evaluate; default all.")


def define_config_flag(argv: list[str]) -> None:
    """Makes the config of the workdir in `argv` the default of `--config`."""
    flags.FLAGS(argv, known_only=True)
    config_flags.DEFINE_config_dict("config", read_config(as_path(_WORKDIR.value)))


def add_benchmark(config: ConfigDict, given: str) -> None:
    """Adds `NAME=FOLDER` or `NAME=FOLDER:SPLIT` to `config.eval.benchmarks`.

    Raises:
      InputError: if it is neither.
    """
    name, _, place = given.partition("=")
    folder, _, split = place.partition(":")
    if is_remote(place):
        raise InputError(f"--benchmark={given}: the data set has to lie on this machine")
    if not re.fullmatch(r"[\w-]+", name) or not folder:
        raise InputError(
            f"--benchmark={given}: say NAME=FOLDER or NAME=FOLDER:SPLIT, the name of letters, "
            "digits, _ and -"
        )
    path = str(Path(folder).absolute())
    with config.unlocked():
        config.eval.benchmarks[name] = ConfigDict(
            {"path": path, "split": split or "test", "among": "all", "required": True}
        )


def keep_only(config: ConfigDict, names: list[str]) -> None:
    """Leaves only the named benchmarks in `config.eval.benchmarks`.

    Raises:
      InputError: if there is no benchmark of such a name.
    """
    known = list(config.eval.benchmarks)
    for name in names:
        if name not in known:
            raise InputError(f"--only: there is no benchmark {name!r}, only {', '.join(known)}")
    with config.unlocked():
        for name in set(known) - set(names):
            del config.eval.benchmarks[name]


def label_of(config: ConfigDict, trained: ConfigDict) -> str:
    """What an evaluation changes of the run's own settings and benchmarks; empty for nothing."""
    now, before = (run_config.evaluation_settings(each) for each in (config, trained))
    changed = [f"{key}={value}" for key, value in now.items() if value != before[key]]
    names = sorted(config.eval.benchmarks)
    if names != sorted(trained.eval.benchmarks):
        changed.append("on=" + "+".join(names))
    return ",".join(changed)


def check_model(config: ConfigDict, meta: dict[str, Any]) -> None:
    """Raises an `InputError` if the config has another model than the checkpoint."""
    differing = run_config.differing_keys(config, meta.get("config", config.to_dict()))
    lines = [line for line in differing if line.startswith(("config.model.", "config.clip."))]
    if lines:
        raise InputError("the checkpoint is of another model:\n  " + "\n  ".join(lines))


def main(argv: list[str]) -> None:
    """Evaluates one checkpoint."""
    del argv
    config, workdir = flags.FLAGS.config, as_path(_WORKDIR.value)
    for given in _BENCHMARKS.value:
        add_benchmark(config, given)
    if _ONLY.value:
        keep_only(config, _ONLY.value)
    label = label_of(config, read_config(workdir))
    mesh = commands.start_devices(config)
    evaluator = Evaluator(config, workdir, mesh, label)
    # The shapes of the state don't depend on the length of the schedule.
    step_config = run_config.step_config(config, num_records=1)
    abstract = abstract_state(step_config.model, make_optimizer(step_config.optimizer), mesh)
    folder = BEST_FOLDER if _BEST.value else CHECKPOINTS_FOLDER
    with Checkpoints(workdir, config.checkpoint.keep, folder, read_only=True) as checkpoints:
        meta = checkpoints.meta(_STEP.value)
        check_model(config, meta)
        state = checkpoints.restore(abstract, _STEP.value)
    missing = tuple(meta.get("missing", ()))
    evaluator(state, missing)


if __name__ == "__main__":
    commands.run(main, before_parsing=define_config_flag)
