"""Converts OpenShape's training data: `python -m data_prep.openshape --help`."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from etils import epath

from data_prep.arguments import command_parser, names_among, whole_number
from data_prep.openshape.clip import CLIP_ID, EMBEDDING_SIZE
from data_prep.openshape.folders import FOLDERS
from mixcon3d_jax.buckets import is_remote
from mixcon3d_jax.errors import InputError, exit_on_input_error

if TYPE_CHECKING:
    from data_prep.openshape.convert import Job
    from data_prep.openshape.plan import Plan
    from data_prep.openshape.units import Unit

_DESCRIPTION = """\
Converts OpenShape's training data, as `python -m data_prep.download` gets them, into one data set
each for Objaverse, ShapeNet, ABO and 3D-FUTURE.  Archives are read as they are and never unpacked
to the disk; unpacked folders are taken as well.  The files are pickles: nothing that they say is
run.

Interrupted, the same command continues with the first unfinished shard; repeated, it does nothing
unless the source or an option has changed, and then converts what has.

Shapes that can't be read, and archives that break off, are listed in OUTPUT/DATASET/report.json,
and the data set is made of the others; with more of them than --max-failures the exit status is 1.
"""
_EXAMPLE = """\
examples:
  python -m data_prep.openshape --source=openshape --output=data/openshape
  python -m data_prep.openshape --source=openshape --output=trial --datasets=ABO --limit=100
  python -m data_prep.openshape --source=gs://BUCKET/openshape --output=gs://BUCKET/data \\
      --beam-runner=DataflowRunner -- --project=PROJECT --region=REGION
"""


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("openshape", _DESCRIPTION, _EXAMPLE)
    add = parser.add_argument
    add("--source", required=True, help="the folder of the original data")
    add("--output", required=True, help="the folder that gets a folder for every data set")
    add(
        "--datasets",
        type=names_among(FOLDERS),
        help=f"comma-separated, of {', '.join(FOLDERS)} (default: those that are there)",
    )
    add("--limit", type=whole_number(1), help="the first shapes of each data set only, for a trial")
    add(
        "--workers",
        type=whole_number(1),
        default=os.cpu_count(),
        help="processes (default: all cores)",
    )
    add(
        "--shard-size",
        type=whole_number(1),
        default=1024,
        help="shapes of a shard (default: %(default)s)",
    )
    add("--clip-id", help=f"the CLIP that the embeddings come from (default: {CLIP_ID})")
    add(
        "--embedding-size",
        type=whole_number(1),
        help="entries of its embeddings (default: what most of the first shapes have)",
    )
    add(
        "--max-failures",
        type=whole_number(0),
        default=0,
        help="shapes and archives that may fail with exit status 0 all the same "
        "(default: %(default)s)",
    )
    add("--beam-runner", metavar="NAME", help="convert with Apache Beam, on this runner")
    add("beam_options", nargs="*", metavar="-- BEAM_OPTION", help="options of the Beam pipeline")
    return parser


@exit_on_input_error
def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status: 1 when too much failed."""
    args = _parser().parse_args(arguments)
    if args.beam_options and not args.beam_runner:
        raise InputError(f"{args.beam_options[0]}: options after -- are Beam's; name --beam-runner")
    # Worker processes import this module, and need none of this.
    from data_prep.openshape.conversion import run

    return run(_plans(args), _executor(args), args.max_failures)


def _plans(args: argparse.Namespace) -> list["Plan"]:
    """One for every data set."""
    from data_prep.openshape.plan import Options, Plan

    source, output = _absolute(args.source), _absolute(args.output)
    found = _find(source, args)
    units = [unit for units in found.values() for unit in units]
    size = _embedding_size(args, units)
    options = Options(args.clip_id or CLIP_ID, size, args.shard_size, args.limit)
    return [Plan.of(source, output, dataset, found[dataset], options) for dataset in found]


def _find(source: epath.Path, args: argparse.Namespace) -> dict[str, list["Unit"]]:
    """The units of every data set that is there; says what is left out."""
    from data_prep.openshape.units import find_units

    if not source.is_dir():
        raise InputError(f"--source={args.source} is no folder")
    found = {}
    for dataset in args.datasets or FOLDERS:
        units = find_units(source, dataset, args.shard_size, "", args.limit)
        for note in units.notes:
            print(f"note: {note}", file=sys.stderr)
        if units.units:
            found[dataset] = units.units
        elif args.datasets:
            raise InputError(
                f"{source} holds nothing of {dataset}: neither {dataset}.tar.gz nor files in "
                f"{dataset}/"
            )
    if not found:
        raise InputError(
            f"{source} holds nothing of {', '.join(FOLDERS)}; get the data with `python -m "
            "data_prep.download`"
        )
    return found


def _embedding_size(args: argparse.Namespace, units: Sequence["Unit"]) -> int:
    from data_prep.openshape.sizes import usual_embedding_size

    size = args.embedding_size or usual_embedding_size(units) or EMBEDDING_SIZE
    if size != EMBEDDING_SIZE and not args.clip_id:
        print(
            f"note: the embeddings have {size} entries, while those of {CLIP_ID} have "
            f"{EMBEDDING_SIZE}; if they come from another CLIP, name it with --clip-id",
            file=sys.stderr,
        )
    return size


def _absolute(folder: str) -> epath.Path:
    path = epath.Path(folder)
    return path if is_remote(path) else path.resolve()


def _executor(args: argparse.Namespace) -> Callable[[Sequence["Job"]], None]:
    from data_prep.openshape.beam import convert_with_beam
    from data_prep.openshape.execute import convert_all

    if args.beam_runner:
        return lambda jobs: convert_with_beam(jobs, args.beam_runner, args.beam_options)
    return lambda jobs: convert_all(jobs, args.workers)


if __name__ == "__main__":
    sys.exit(main())
