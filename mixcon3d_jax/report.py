"""A report of a run, one HTML file: `python -m mixcon3d_jax.report --workdir=DIR`.

Training curves, figures beside the paper's, what is taken for what, pictures of right and wrong
shapes, what texts find, config and versions.  What can't be had (no checkpoint yet, a data set that
isn't there any more) is named on the page and left out.

The workdir knows its config; benchmarks are chosen as for `mixcon3d_jax.evaluate`, and keys can be
changed as there, for example `--config.eval.retrieval=all`.
"""

import jax
from absl import flags

from mixcon3d_jax import commands
from mixcon3d_jax.buckets import as_path
from mixcon3d_jax.evaluation.command_line import (
    chosen_config,
    chosen_workdir,
    define_config_flag,
    define_run_flags,
)
from mixcon3d_jax.files import write_whole
from mixcon3d_jax.reporting.collect import Choice, collect
from mixcon3d_jax.reporting.page import make_page
from mixcon3d_jax.training.run_config import EVALUATION_MODES

REPORT_FILE = "report.html"

define_run_flags()
_OUTPUT = flags.DEFINE_string("output", None, f"The file; default: WORKDIR/{REPORT_FILE}.")
_WEIGHTS = flags.DEFINE_enum("weights", "ema", ("ema", "raw"), "Of which single shapes are shown.")
_MODE = flags.DEFINE_enum("mode", "point", EVALUATION_MODES, "How single shapes are looked at.")


def main(argv: list[str]) -> None:
    """Writes one page."""
    del argv
    config, workdir = chosen_config(), chosen_workdir()
    output = as_path(_OUTPUT.value) if _OUTPUT.value else workdir / REPORT_FILE
    mesh = commands.start_devices(config)
    choice = Choice(flags.FLAGS.step, flags.FLAGS.best, _WEIGHTS.value, _MODE.value)
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
