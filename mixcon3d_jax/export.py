"""Exports a checkpoint: `python -m mixcon3d_jax.export --workdir=DIR --output=FILE.pt`.

A `.pt` is a checkpoint that the original's PyTorch code loads and goes on training (this needs
PyTorch); a `.safetensors` holds one set of weights under the same names (this doesn't).
"""

from absl import flags

from mixcon3d_jax import commands
from mixcon3d_jax.buckets import as_path
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.exchange.own_export import WEIGHTS, write_export
from mixcon3d_jax.exchange.runs import ExistsError, read_run
from mixcon3d_jax.exchange.weights_file import SUFFIXES
from mixcon3d_jax.sharding import use_virtual_cpu_devices
from mixcon3d_jax.training.best import BEST_FOLDER
from mixcon3d_jax.training.checkpoint import CHECKPOINTS_FOLDER

_WORKDIR = flags.DEFINE_string("workdir", None, "The run's workdir.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "FILE.pt or FILE.safetensors.", required=True)
_WEIGHTS = flags.DEFINE_enum(
    "weights",
    "ema",
    WEIGHTS,
    "Which weights the file is about: `ema` to evaluate them, `raw` to go on training.",
)
_STEP = flags.DEFINE_integer("step", None, "Which checkpoint; default the newest.")
_BEST = flags.DEFINE_bool("best", False, "The checkpoint that config.checkpoint.best_by kept.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace an existing file.")


def main(argv: list[str]) -> None:
    """Writes one file."""
    del argv
    output = as_path(_OUTPUT.value)
    if output.suffix not in SUFFIXES:
        raise InputError(f"--output={output}: its name must end in {', '.join(SUFFIXES)}")
    if output.exists() and not _OVERWRITE.value:
        raise ExistsError(f"{output} exists already; say --overwrite to replace it")
    # No accelerator: one that is training must not be disturbed.
    use_virtual_cpu_devices(1)
    folder = BEST_FOLDER if _BEST.value else CHECKPOINTS_FOLDER
    snapshot = read_run(as_path(_WORKDIR.value), _STEP.value, folder)
    write_export(output, snapshot, _WEIGHTS.value)
    left_out = "".join(f", without {module}" for module in snapshot.about.missing)
    print(f"{output}: {_WEIGHTS.value} weights of step {snapshot.step}{left_out}")


if __name__ == "__main__":
    commands.run(main)
