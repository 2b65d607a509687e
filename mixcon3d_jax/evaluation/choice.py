"""Which benchmarks a command evaluates on, changed from those of the run's config."""

import re
from pathlib import Path

from ml_collections import ConfigDict

from mixcon3d_jax.buckets import is_remote
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.training import run_config


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
    found = [name for name in run_config.retrieval_benchmarks(config) if name in names]
    with config.unlocked():
        config.eval.retrieval = ",".join(found)
        for name in set(known) - set(names):
            del config.eval.benchmarks[name]


def label_of(config: ConfigDict, trained: ConfigDict) -> str:
    """What an evaluation changes of the run's own settings and benchmarks; empty for nothing."""
    now, before = (run_config.evaluation_settings(each) for each in (config, trained))
    changed = [f"{key}={value}" for key, value in now.items() if value != before[key]]
    names = sorted(config.eval.benchmarks)
    if names != sorted(trained.eval.benchmarks):
        changed.append("on=" + "+".join(names))
    found, usual = (set(run_config.retrieval_benchmarks(each)) for each in (config, trained))
    if found != usual & set(names):
        changed.append("retrieval=" + ("+".join(sorted(found)) or "none"))
    return ",".join(changed)
