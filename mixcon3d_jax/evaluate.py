"""Zero-shot evaluation of a run: `python -m mixcon3d_jax.evaluate --workdir=DIR`.

The workdir knows its config; keys of evaluation can be changed as anywhere, for example
`--config.eval.num_views=12`.
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from mixcon3d_jax import commands
from mixcon3d_jax.evaluation.run import Evaluator
from mixcon3d_jax.training import run_config
from mixcon3d_jax.training.checkpoint import Checkpoints
from mixcon3d_jax.training.optimizer import make_optimizer
from mixcon3d_jax.training.state import abstract_state
from mixcon3d_jax.training.workdir import read_config

_WORKDIR = flags.DEFINE_string("workdir", None, "The run's workdir.", required=True)
_STEP = flags.DEFINE_integer("step", None, "Which checkpoint; default the newest.")


def define_config_flag(argv: list[str]) -> None:
    """Makes the config of the workdir in `argv` the default of `--config`."""
    flags.FLAGS(argv, known_only=True)
    config_flags.DEFINE_config_dict("config", read_config(Path(_WORKDIR.value)))


def main(argv: list[str]) -> None:
    """Evaluates one checkpoint."""
    del argv
    config, workdir = flags.FLAGS.config, Path(_WORKDIR.value)
    mesh = commands.start_devices(config)
    evaluator = Evaluator(config, workdir, mesh)
    # The shapes of the state don't depend on the length of the schedule.
    step_config = run_config.step_config(config, num_records=1)
    abstract = abstract_state(step_config.model, make_optimizer(step_config.optimizer), mesh)
    with Checkpoints(workdir, config.checkpoint.keep) as checkpoints:
        state = checkpoints.restore(abstract, _STEP.value)
    evaluator(state)


if __name__ == "__main__":
    commands.run(main, before_parsing=define_config_flag)
