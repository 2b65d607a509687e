"""Imports PyTorch weights: `python -m mixcon3d_jax.import_torch --input=FILE --workdir=DIR`.

FILE is a checkpoint of the original or of OpenShape, or an export of this project.  The workdir is
then evaluated, and trained further, as any other.
"""

import functools
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from mixcon3d_jax import commands
from mixcon3d_jax.buckets import as_path, is_remote
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.exchange.file_contents import snapshot_of_file
from mixcon3d_jax.exchange.runs import check_free, make_run
from mixcon3d_jax.exchange.weights_file import WeightsFile, read_weights
from mixcon3d_jax.models.pointbert import SCALINGS
from mixcon3d_jax.sharding import use_virtual_cpu_devices
from mixcon3d_jax.training.run_config import with_later_keys

_INPUT = flags.DEFINE_string("input", None, "FILE.pt or FILE.safetensors.", required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "The workdir to make.", required=True)
_SCALING = flags.DEFINE_enum(
    "scaling",
    None,
    list(map(str, SCALINGS)),
    "The encoder's size; default what the shapes say.  A contradiction is an error.",
)
_DEFAULT_CONFIG = "configs/ensembled.py"


@functools.cache
def _file() -> WeightsFile:
    if is_remote(_INPUT.value):
        raise InputError(f"--input={_INPUT.value}: copy the file to this machine first")
    return read_weights(Path(_INPUT.value))


def define_config_flag(argv: list[str]) -> None:
    """An export brings its config along; for other files `--config` says what they don't."""
    flags.FLAGS(argv, known_only=True)
    about = _file().about
    if about is None:
        config_flags.DEFINE_config_file(
            "config", _DEFAULT_CONFIG, "A config file, for what the weights' shapes don't say."
        )
    elif any(argument.startswith(("--config=", "-config=")) for argument in argv):
        raise InputError(
            f"{_INPUT.value} brings its config along: leave --config out (single keys can be "
            "changed: --config.KEY=VALUE)"
        )
    else:
        config_flags.DEFINE_config_dict("config", with_later_keys(about.config))


def main(argv: list[str]) -> None:
    """Makes one workdir."""
    del argv
    config, file, workdir = flags.FLAGS.config, _file(), as_path(_WORKDIR.value)
    check_free(workdir)
    # No accelerator: one that is training must not be disturbed.
    use_virtual_cpu_devices(1)
    snapshot = snapshot_of_file(file, config, _SCALING.value and int(_SCALING.value))
    print(f"{file.path}:")
    for note in snapshot.notes:
        print(f"- {note}")
    make_run(workdir, snapshot)
    print(f"{workdir} is ready: evaluate it, or train on with the same config.model")


if __name__ == "__main__":
    commands.run(main, before_parsing=define_config_flag)
