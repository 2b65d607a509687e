"""Makes a data set of one's own 3D assets: `python -m data_prep.assets --help`."""

import argparse
import math
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.arguments import CLIP_HELP, command_parser, whole_number
from data_prep.hold_out import hold_out
from data_prep.prepare_asset import Outcome, PrepareOptions
from data_prep.report import print_report, write_report
from data_prep.sheets import write_contact_sheets
from data_prep.workers import prepare_all
from mixcon3d_jax.assets.manifest import read_manifest
from mixcon3d_jax.errors import InputError, exit_on_input_error
from mixcon3d_jax.files import check_writable

if TYPE_CHECKING:
    from mixcon3d_jax.models.clip_folder import ClipFolder

_DESCRIPTION = """\
Turns a folder of meshes (GLB, glTF, OBJ, PLY, OFF, STL) and point clouds (PLY, NPY, NPZ) into a
data set to train on: coloured points, 12 renders, their CLIP embeddings and those of the texts.

The manifest is a JSON list of objects with `path` (relative to the manifest), `class`, `text`, and
optionally `captions`, `split` and `id`.  Interrupted, the same command continues where it was;
repeated, it does nothing unless an asset, an option or the CLIP has changed.

Assets that fail are listed in OUTPUT/report.json, and the data set is made of the others; with more
of them than --max-failures the exit status is 1.  The same command tries the failed ones again.
"""
_EXAMPLE = """\
example:
  python -m data_prep.assets --manifest=my_assets/manifest.json --output=data/my_assets \\
      --clip=small --up-axis=y
"""


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("assets", _DESCRIPTION, _EXAMPLE)
    add = parser.add_argument
    add("--manifest", type=Path, required=True, help="the list of assets")
    add("--output", type=Path, required=True, help="the folder of the data set")
    add("--clip", required=True, help=CLIP_HELP)
    add(
        "--clip-id",
        metavar="NAME",
        help="how the data set names the CLIP (default: `_name_or_path` of its config.json, else "
        "its folder's name)",
    )
    add("--up-axis", choices=("y", "z"), required=True, help="the axis that points up in the files")
    add("--name", help="of the data set (default: the manifest folder's name)")
    add(
        "--num-points",
        type=whole_number(1),
        default=10_000,
        help="points an asset (default: %(default)s)",
    )
    # Larger than CLIP sees would only be shrunk again.
    add("--render-size", type=whole_number(1), help="pixels (default: the image size of the CLIP)")
    add(
        "--workers",
        type=whole_number(1),
        default=os.cpu_count(),
        help="processes (default: all cores)",
    )
    add(
        "--seed",
        type=whole_number(0),
        default=0,
        help="of all that is random (default: %(default)s)",
    )
    add(
        "--max-failures",
        type=whole_number(0),
        default=0,
        help="assets that may fail with exit status 0 all the same (default: %(default)s)",
    )
    add(
        "--test-fraction",
        type=_fraction,
        help="share of each class to hold out as the split 'test', where the manifest names none",
    )
    add(
        "--prompt-texts",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="embed texts in 64 prompt templates too, as OpenShape does (default: yes)",
    )
    add(
        "--keep-renders",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="store the renders with the records (default: yes)",
    )
    return parser


@exit_on_input_error
def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status: 1 when too many assets failed."""
    # Worker processes import this module, and neither need nor should load JAX.
    from data_prep.finished import (
        PREPARATION_FILE,
        Preparation,
        earlier_preparation,
        unchanged_outcomes,
    )
    from data_prep.records import RecordOptions, write_records

    args = _parser().parse_args(arguments)
    entries = read_manifest(args.manifest)
    if args.test_fraction is not None:
        entries = hold_out(entries, args.test_fraction, args.seed)
    record_options = RecordOptions(_name(args), args.prompt_texts, args.keep_renders)
    check_writable(args.output)
    clip = _load_clip(args)
    render_size = args.render_size or clip.image_size
    options = PrepareOptions(args.up_axis, args.num_points, render_size, args.seed)

    def made_of(outcomes: Sequence[Outcome]) -> Preparation:
        return Preparation.of(entries, outcomes, clip, options, record_options)

    earlier = earlier_preparation(args.output)
    # Why an asset failed may lie in files that are not known, so failed ones are tried again.
    retry = earlier is None or earlier.failed > 0
    if not retry and made_of(unchanged_outcomes(earlier, entries, options)) == earlier:
        return _nothing_to_do(args)
    work, report_path = args.output / "work", args.output / "report.json"
    outcomes = prepare_all(entries, args.manifest.parent, work, options, args.workers)
    report = write_report(report_path, entries, outcomes)
    print_report(report, report_path)
    good = [entry for entry, outcome in zip(entries, outcomes, strict=True) if not outcome.failure]
    if not good:
        print("error: all assets failed: no data set was written", file=sys.stderr)
        return 1
    preparation = made_of(outcomes)
    if preparation == earlier:
        _nothing_to_do(args)
    else:
        write_contact_sheets(args.output / "contact_sheets", work, good)
        made = {PREPARATION_FILE: preparation.to_bytes()}
        card = write_records(
            args.output, work, entries, outcomes, clip, options, record_options, made
        )
        counts = ", ".join(f"{split}: {count}" for split, count in card.splits.items())
        print(f"data set '{card.name}' in {args.output} ({counts})")
        print(f"look at its renders in {args.output / 'contact_sheets'}")
    if not preparation.failed:
        shutil.rmtree(work)
        return 0
    return _ended_with_failures(preparation.failed, args.max_failures, work)


def _name(args: argparse.Namespace) -> str:
    """The data set's name.

    Raises:
      InputError: when the one that was given cannot be used.
    """
    name = args.name or _identifier(args.manifest.resolve().parent.name)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(
            f"--name={name}: use small letters, digits and underscores, a letter first"
        )
    return name


def _load_clip(args: argparse.Namespace) -> "ClipFolder":
    """Loads the CLIP and says what a config must say about it."""
    from data_prep.embedding import open_clip

    clip = open_clip(args.clip, args.clip_id)
    print(
        f"the data set will name its CLIP {clip.id!r}, with embeddings of size "
        f"{clip.embedding_size}; a config to train on it says the same in clip.id and "
        "clip.embedding_size",
        flush=True,
    )
    return clip


def _nothing_to_do(args: argparse.Namespace) -> int:
    print(f"nothing to do: {args.output} holds the data set of these assets and options")
    return 0


def _ended_with_failures(failed: int, allowed: int, work: Path) -> int:
    """Says what to do about assets that failed; returns the exit status."""
    kind = "error" if failed > allowed else "note"
    print(
        f"{kind}: {failed} assets failed, {allowed} may (--max-failures): the data set is made of "
        "the others.  Mend or remove the failed ones and run the same command again; what worked "
        f"is kept in {work} and not done anew",
        file=sys.stderr,
    )
    return int(failed > allowed)


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number between 0 and 1")
    return value


def _identifier(folder: str) -> str:
    """A folder's name as the name of a data set."""
    cleaned = re.sub(r"[^a-z0-9]+", "_", folder.lower()).strip("_")
    return cleaned if cleaned[:1].isalpha() else f"assets_{cleaned}".strip("_")


if __name__ == "__main__":
    sys.exit(main())
