"""Zero-shot accuracy and retrieval of a run: `python -m mixcon3d_jax.evaluate --workdir=DIR`.

The workdir knows its config; keys of evaluation can be changed as anywhere, for example
`--config.eval.num_views=12`, or `--config.eval.retrieval=all` to measure retrieval as well.
`--benchmark=NAME=FOLDER` adds the data set in FOLDER, as often as it is given; `--only=NAME,NAME`
leaves out all others.

Figures go to `WORKDIR/eval/STEP.json`; what was changed is added to that name, as in
`eval/60-num_views=12.json`.
"""

from absl import flags
from ml_collections import config_flags

from mixcon3d_jax import commands
from mixcon3d_jax.buckets import as_path
from mixcon3d_jax.evaluation.choice import add_benchmark, keep_only, label_of
from mixcon3d_jax.evaluation.run import Evaluator
from mixcon3d_jax.evaluation.saved import restore_state
from mixcon3d_jax.training.best import BEST_FOLDER
from mixcon3d_jax.training.checkpoint import CHECKPOINTS_FOLDER
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
    folder = BEST_FOLDER if _BEST.value else CHECKPOINTS_FOLDER
    evaluator(*restore_state(config, workdir, mesh, _STEP.value, folder))


if __name__ == "__main__":
    commands.run(main, before_parsing=define_config_flag)
