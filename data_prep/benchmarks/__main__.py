"""Makes data sets of the original's benchmarks: `python -m data_prep.benchmarks --help`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from data_prep.arguments import command_parser, names_among, whole_number
from data_prep.benchmarks.class_rows import ClassRows
from data_prep.benchmarks.failures import Failures
from data_prep.benchmarks.lvis import prepare_lvis
from data_prep.benchmarks.modelnet40 import read_modelnet40
from data_prep.benchmarks.scanobjectnn import read_scanobjectnn
from data_prep.benchmarks.write_clouds import write_clouds
from data_prep.openshape.clip import CLIP_ID
from mixcon3d_jax.errors import InputError, exit_on_input_error
from mixcon3d_jax.files import check_writable

# Short ones first, whose faults are known at once; with the original's numbers of shapes.
BENCHMARKS = {"modelnet40": 2468, "scanobjectnn": 2890, "objaverse_lvis": 46832}

_DESCRIPTION = """\
Makes data sets of the three benchmarks in OpenShape's data (see data_prep.download), each in a
folder of OUTPUT with one split, `test`: objaverse_lvis (1,156 classes; with views, thumbnail and
texts), modelnet40 (40) and scanobjectnn (15), both of points alone.

The class embeddings are the original's.  --class-embeddings takes a file made by
data_prep.class_embeddings instead; for objaverse_lvis it must be of the CLIP that the views were
embedded with, for the others of any: the data set is then one of that CLIP.

A shape that is missing or bad is listed in OUTPUT/NAME/report.json, and the data set is made of the
others; with more of them than --max-failures the exit status is 1.
"""
_EXAMPLE = """\
example:
  python -m data_prep.benchmarks --source=openshape --output=data/openshape/benchmarks \\
      --only=modelnet40,scanobjectnn
"""


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("benchmarks", _DESCRIPTION, _EXAMPLE)
    add = parser.add_argument
    add("--source", type=Path, required=True, help="the folder of the download")
    add("--output", type=Path, required=True, help="the folder of the data sets")
    add(
        "--only",
        metavar="NAMES",
        type=names_among(BENCHMARKS),
        default=list(BENCHMARKS),
        help=f"comma-separated, of {', '.join(BENCHMARKS)} (default: all)",
    )
    add(
        "--class-embeddings",
        metavar="NAME=FILE",
        action="append",
        default=[],
        help="other class embeddings for a benchmark; may be given for each",
    )
    add("--clip-id", default=CLIP_ID, help="of the original's embeddings (default: %(default)s)")
    add(
        "--workers",
        type=whole_number(1),
        default=os.cpu_count(),
        help="processes that read archives (default: all cores)",
    )
    add(
        "--max-failures",
        type=whole_number(0),
        default=0,
        help="shapes that may fail with exit status 0 all the same (default: %(default)s)",
    )
    return parser


@exit_on_input_error
def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status: 1 when too many shapes failed."""
    args = _parser().parse_args(arguments)
    rows_of = _class_rows(args.class_embeddings, args.clip_id)
    check_writable(args.output)
    failed = 0
    for name in (name for name in BENCHMARKS if name in args.only):
        failures = Failures(name)
        written = _prepare(name, args, rows_of[name], failures)
        _say_how_many(name, written, failures)
        failed += len(failures.reasons)
    if failed:
        kind = "error" if failed > args.max_failures else "note"
        print(
            f"{kind}: {failed} shapes failed, {args.max_failures} may (--max-failures): the data "
            "sets are made of the others",
            file=sys.stderr,
        )
    return int(failed > args.max_failures)


def _prepare(name: str, args: argparse.Namespace, rows: ClassRows, failures: Failures) -> int:
    """Makes one data set; returns the number of its records."""
    meta_data, folder = args.source / "meta_data", args.output / name
    if name == "objaverse_lvis":
        return prepare_lvis(args.source, folder, rows, failures, args.workers)
    read = {"modelnet40": read_modelnet40, "scanobjectnn": read_scanobjectnn}[name]
    return write_clouds(name, read(meta_data), folder, rows, failures)


def _say_how_many(name: str, written: int, failures: Failures) -> None:
    expected = written + len(failures.reasons)
    note = ""
    if expected != BENCHMARKS[name]:
        note = f" (the original's has {BENCHMARKS[name]:,}: these files are others)"
    print(f"{name}: {written:,} of {expected:,} shapes{note}", flush=True)


def _class_rows(given: Sequence[str], clip_id: str) -> dict[str, ClassRows]:
    files = {}
    for text in given:
        name, found, file = text.partition("=")
        if not found or not file:
            raise InputError(f"--class-embeddings={text}: say NAME=FILE.npy")
        if name not in BENCHMARKS:
            raise InputError(
                f"--class-embeddings={text}: there is no benchmark {name!r}, only "
                f"{', '.join(BENCHMARKS)}"
            )
        files[name] = Path(file)
    return {name: ClassRows(clip_id, files.get(name)) for name in BENCHMARKS}


if __name__ == "__main__":
    sys.exit(main())
