"""A report of a run, one HTML file: `python -m mixcon3d_jax.report --workdir=DIR`.

Training curves, figures beside the paper's, what is taken for what, pictures of right and wrong
shapes, what texts find, config and versions.  What can't be had (no checkpoint yet, a data set that
isn't there any more) is named on the page and left out.

The workdir knows its config; benchmarks are chosen as for `mixcon3d_jax.evaluate`, and keys can be
changed as there, for example `--config.eval.retrieval=all`.
"""

import jax
from absl import flags
from ml_collections import config_flags

from mixcon3d_jax import commands
from mixcon3d_jax.buckets import as_path
from mixcon3d_jax.evaluation.choice import add_benchmark, keep_only
from mixcon3d_jax.files import write_whole
from mixcon3d_jax.reporting.collect import Choice, collect
from mixcon3d_jax.reporting.page import make_page
from mixcon3d_jax.training.run_config import EVALUATION_MODES
from mixcon3d_jax.training.workdir import read_config

REPORT_FILE = "report.html"

_WORKDIR = flags.DEFINE_string("workdir", None, "The run's workdir.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, f"The file; default: WORKDIR/{REPORT_FILE}.")
_STEP = flags.DEFINE_integer("step", None, "Which checkpoint; default the newest.")
_BEST = flags.DEFINE_bool("best", False, "The checkpoint that config.checkpoint.best_by kept.")
_WEIGHTS = flags.DEFINE_enum("weights", "ema", ("ema", "raw"), "Of which single shapes are shown.")
_MODE = flags.DEFINE_enum("mode", "point", EVALUATION_MODES, "How single shapes are looked at.")
_BENCHMARKS = flags.DEFINE_multi_string(
    "benchmark", [], "NAME=FOLDER or NAME=FOLDER:SPLIT (default: test): one more benchmark."
)
_ONLY = flags.DEFINE_list("only", None, "Names of the benchmarks to look at; default all.")


def define_config_flag(argv: list[str]) -> None:
    """Makes the config of the workdir in `argv` the default of `--config`."""
    flags.FLAGS(argv, known_only=True)
    config_flags.DEFINE_config_dict("config", read_config(as_path(_WORKDIR.value)))


def main(argv: list[str]) -> None:
    """Writes one page."""
    del argv
    config, workdir = flags.FLAGS.config, as_path(_WORKDIR.value)
    output = as_path(_OUTPUT.value) if _OUTPUT.value else workdir / REPORT_FILE
    for given in _BENCHMARKS.value:
        add_benchmark(config, given)
    if _ONLY.value:
        keep_only(config, _ONLY.value)
    mesh = commands.start_devices(config)
    choice = Choice(_STEP.value, _BEST.value, _WEIGHTS.value, _MODE.value)
    found = collect(config, workdir, mesh, choice)
    if jax.process_index() > 0:
        return
    page = make_page(found, config, workdir, choice).encode()
    write_whole(output, page)
    for note in found.notes:
        print(note)
    print(f"{output}: {len(page) / 1e6:.1f} MB, all in this one file")


if __name__ == "__main__":
    commands.run(main, before_parsing=define_config_flag)
