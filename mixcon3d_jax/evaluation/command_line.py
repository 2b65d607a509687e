"""Flags of the commands that look at a run's checkpoint and benchmarks."""

from absl import flags
from ml_collections import ConfigDict, config_flags

from mixcon3d_jax.buckets import AnyPath, as_path
from mixcon3d_jax.evaluation.choice import add_benchmark, keep_only
from mixcon3d_jax.training.best import BEST_FOLDER
from mixcon3d_jax.training.checkpoint import CHECKPOINTS_FOLDER
from mixcon3d_jax.training.workdir import read_config

# They are shown by --help of the command that defines them here.
flags.disclaim_key_flags()


def define_run_flags() -> None:
    """Which workdir, checkpoint and benchmarks; a command calls it once, when it is imported."""
    flags.DEFINE_string("workdir", None, "The run's workdir.", required=True)
    flags.DEFINE_integer("step", None, "Which checkpoint; default the newest.")
    flags.DEFINE_bool("best", False, "The checkpoint that config.checkpoint.best_by kept.")
    flags.DEFINE_multi_string(
        "benchmark", [], "NAME=FOLDER or NAME=FOLDER:SPLIT (default: test): one more benchmark."
    )
    flags.DEFINE_list("only", None, "Names of the benchmarks to look at; default all.")


def define_config_flag(argv: list[str]) -> None:
    """Makes the config of the workdir in `argv` the default of `--config`."""
    flags.FLAGS(argv, known_only=True)
    config_flags.DEFINE_config_dict("config", read_config(chosen_workdir()))


def chosen_workdir() -> AnyPath:
    """The workdir that the flags name."""
    return as_path(flags.FLAGS.workdir)


def chosen_checkpoint() -> tuple[int | None, str]:
    """The step, None for the newest, and the folder of the workdir that it is in."""
    return flags.FLAGS.step, BEST_FOLDER if flags.FLAGS.best else CHECKPOINTS_FOLDER


def chosen_config() -> ConfigDict:
    """The config, with the benchmarks that the flags name.

    Raises:
      InputError: if a flag names no benchmark.
    """
    config = flags.FLAGS.config
    for given in flags.FLAGS.benchmark:
        add_benchmark(config, given)
    if flags.FLAGS.only:
        keep_only(config, flags.FLAGS.only)
    return config
