"""Zero-shot accuracy and retrieval of a run: `python -m mixcon3d_jax.evaluate --workdir=DIR`.

The workdir knows its config; keys of evaluation can be changed as anywhere, for example
`--config.eval.num_views=12`, or `--config.eval.retrieval=all` to measure retrieval as well.
`--benchmark=NAME=FOLDER` adds the data set in FOLDER, as often as it is given; `--only=NAME,NAME`
leaves out all others.

Figures go to `WORKDIR/eval/STEP.json`; what was changed is added to that name, as in
`eval/60-num_views=12.json`.
"""

from mixcon3d_jax import commands
from mixcon3d_jax.evaluation.choice import label_of
from mixcon3d_jax.evaluation.command_line import (
    chosen_checkpoint,
    chosen_config,
    chosen_workdir,
    define_config_flag,
    define_run_flags,
)
from mixcon3d_jax.evaluation.run import Evaluator
from mixcon3d_jax.evaluation.saved import restore_state
from mixcon3d_jax.training.workdir import read_config

define_run_flags()


def main(argv: list[str]) -> None:
    """Evaluates one checkpoint."""
    del argv
    config, workdir = chosen_config(), chosen_workdir()
    label = label_of(config, read_config(workdir))
    mesh = commands.start_devices(config)
    evaluator = Evaluator(config, workdir, mesh, label)
    evaluator(*restore_state(config, workdir, mesh, *chosen_checkpoint()))


if __name__ == "__main__":
    commands.run(main, before_parsing=define_config_flag)
