"""Makes a data set of one's own 3D assets: `python -m data_prep.assets --help`."""

import argparse
import os
import re
import shutil
import sys
from pathlib import Path

from data_prep.manifest import hold_out, read_manifest
from data_prep.prepare_asset import PrepareOptions
from data_prep.report import print_report, write_report
from data_prep.sheets import write_contact_sheets
from data_prep.workers import prepare_all
from mixcon3d_jax.errors import InputError, exit_on_input_error

_DESCRIPTION = """\
Turns a folder of meshes (GLB, glTF, OBJ, PLY, OFF, STL) and point clouds (PLY, NPY, NPZ) into a
data set to train on: coloured points, 12 renders, their CLIP embeddings and those of the texts.

The manifest is a JSON list of objects with `path` (relative to the manifest), `class`, `text`, and
optionally `captions`, `split` and `id`.  Interrupted, the same command continues where it was.
Assets that fail are listed in OUTPUT/report.json; with more of them than --max-failures no data set
is written, the rest of the work is kept, and the same command tries the failed ones again.
"""
_EXAMPLE = """\
example:
  python -m data_prep.assets --manifest=my_assets/manifest.json --output=data/my_assets \\
      --clip=small --up-axis=y
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.assets",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--manifest", type=Path, required=True, help="the list of assets")
    add("--output", type=Path, required=True, help="the folder of the data set")
    add("--clip", required=True, help="a CLIP folder (Hugging Face layout), or 'small'")
    add("--up-axis", choices=("y", "z"), required=True, help="the axis that points up in the files")
    add("--name", help="of the data set (default: the manifest folder's name)")
    add(
        "--num-points",
        type=_positive,
        default=10_000,
        help="points an asset (default: %(default)s)",
    )
    # Larger than CLIP sees would only be shrunk again.
    add("--render-size", type=_positive, help="pixels (default: the image size of the CLIP)")
    add("--workers", type=_positive, default=os.cpu_count(), help="processes (default: all cores)")
    add("--seed", type=int, default=0, help="of all that is random (default: %(default)s)")
    add("--max-failures", type=int, default=0, help="assets that may fail (default: %(default)s)")
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
    from data_prep.records import RecordOptions, write_records
    from mixcon3d_jax.models.clip_folder import ClipFolder, small_clip_folder

    args = _parser().parse_args(arguments)
    entries = read_manifest(args.manifest)
    if args.test_fraction is not None:
        entries = hold_out(entries, args.test_fraction, args.seed)
    name = args.name or _identifier(args.manifest.resolve().parent.name)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(
            f"--name={name}: use small letters, digits and underscores, a letter first"
        )
    clip = ClipFolder.load(small_clip_folder() if args.clip == "small" else Path(args.clip))
    options = PrepareOptions(
        args.up_axis, args.num_points, args.render_size or clip.image_size, args.seed
    )
    work = args.output / "work"
    outcomes = prepare_all(entries, work, options, args.workers)
    report_path = args.output / "report.json"
    report = write_report(report_path, entries, outcomes)
    failed = report["counts"]["failed"]
    if failed > args.max_failures or failed == len(entries):
        print_report(report, report_path)
        print(
            f"error: {failed} assets failed, {args.max_failures} may (--max-failures): no data set "
            "was written.  The work on the others is kept: mend or remove the failed ones and run "
            "the same command again",
            file=sys.stderr,
        )
        return 1
    good = [entry for entry, outcome in zip(entries, outcomes, strict=True) if not outcome.failure]
    write_contact_sheets(args.output / "contact_sheets", work, good)
    record_options = RecordOptions(name, args.prompt_texts, args.keep_renders)
    card = write_records(args.output, work, entries, outcomes, clip, options, record_options)
    shutil.rmtree(work)
    print_report(report, report_path)
    counts = ", ".join(f"{split}: {count}" for split, count in card.splits.items())
    print(f"data set '{card.name}' in {args.output} ({counts})")
    print(f"look at its renders in {args.output / 'contact_sheets'}")
    return 0


def _positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return int(text)


def _fraction(text: str) -> float:
    if not 0 < float(text) < 1:
        raise argparse.ArgumentTypeError("must be between 0 and 1")
    return float(text)


def _identifier(folder: str) -> str:
    """A folder's name as the name of a data set."""
    cleaned = re.sub(r"[^a-z0-9]+", "_", folder.lower()).strip("_")
    return cleaned if cleaned[:1].isalpha() else f"assets_{cleaned}".strip("_")


if __name__ == "__main__":
    sys.exit(main())
