"""Trains MixCon3D: `python -m mixcon3d_jax.train --config=configs/NAME.py --workdir=DIR`.

Run the same command again to continue an interrupted run.  On several hosts, run it on each; DIR is
then a folder that all of them see, or `gs://BUCKET/PATH`.

Exit status: 0 when the run is finished; 75 when it got SIGTERM and saved (run it again to
continue); 2 when running it again would fail again; anything else when this host or another one
broke down.
"""

import sys

import jax
from absl import flags
from etils import epath
from ml_collections import config_flags

from mixcon3d_jax import commands
from mixcon3d_jax.distributed.agreement import on_every_process
from mixcon3d_jax.evaluation.run import Evaluator
from mixcon3d_jax.training import loop
from mixcon3d_jax.training.preemption import PREEMPTED_STATUS, PreemptedError

_CONFIG = config_flags.DEFINE_config_file("config", None, "The run's config file.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where checkpoints, metrics and figures go.")
flags.mark_flags_as_required(["config", "workdir"])


def main(argv: list[str]) -> None:
    """Trains and evaluates."""
    del argv
    config, workdir = _CONFIG.value, epath.Path(_WORKDIR.value)
    mesh = commands.start_devices(config)
    evaluator = on_every_process(lambda: Evaluator(config, workdir, mesh))
    try:
        loop.train(config, workdir, mesh, evaluator)
    except PreemptedError as preempted:
        if jax.process_index() == 0:
            again = "the state is saved; run the same command again to continue"
            print(f"asked to leave at step {preempted.step}: {again}", flush=True)
        sys.exit(PREEMPTED_STATUS)


if __name__ == "__main__":
    commands.run(main)
