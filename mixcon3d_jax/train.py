"""Trains MixCon3D: `python -m mixcon3d_jax.train --config=configs/NAME.py --workdir=DIR`.

Run the same command again to continue an interrupted run.
"""

from absl import flags
from ml_collections import config_flags

from mixcon3d_jax import commands
from mixcon3d_jax.buckets import as_path
from mixcon3d_jax.evaluation.run import Evaluator
from mixcon3d_jax.training import loop

_CONFIG = config_flags.DEFINE_config_file("config", None, "The run's config file.")
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where checkpoints, metrics and figures go: DIR or gs://BUCKET/PATH."
)
flags.mark_flags_as_required(["config", "workdir"])


def main(argv: list[str]) -> None:
    """Trains and evaluates."""
    del argv
    config, workdir = _CONFIG.value, as_path(_WORKDIR.value)
    mesh = commands.start_devices(config)
    evaluator = Evaluator(config, workdir, mesh)
    loop.train(config, workdir, mesh, evaluator)


if __name__ == "__main__":
    commands.run(main)
