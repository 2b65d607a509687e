"""Classifies meshes and point clouds by names: `python -m mixcon3d_jax.classify --help`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mixcon3d_jax.arguments import command_parser, whole_number
from mixcon3d_jax.errors import exit_on_input_error, plain_warnings
from mixcon3d_jax.extras import extra
from mixcon3d_jax.inference.command_line import (
    add_asset_flags,
    add_mode_flag,
    add_model_flags,
    model_of,
    say_what_failed,
)

if TYPE_CHECKING:
    from mixcon3d_jax.inference.classification import Classification
    from mixcon3d_jax.inference.files import EmbeddedFiles
    from mixcon3d_jax.inference.tables import Table

_DESCRIPTION = """\
Says which of some names fits a mesh or a point cloud best: zero-shot, the names may be any.

Names go into prompt templates, as in evaluation.  Probabilities are the softmax of cosines times
the trained scale: they say how the names compare, not whether any of them is right.  A file that
can't be used is named and left out; the exit status is then 1.
"""
_EXAMPLE = """\
example:
  python -m mixcon3d_jax.classify --model=runs/my_assets --labels=chair,table,lamp --up-axis=y \\
      my_assets/a.glb my_assets/b.obj
"""


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("mixcon3d_jax.classify", _DESCRIPTION, _EXAMPLE)
    add_model_flags(parser)
    add_asset_flags(parser)
    add_mode_flag(parser)
    add = parser.add_argument
    add(
        "--labels",
        required=True,
        metavar="A,B,C|FILE",
        help="names separated by commas, or a text file with a name a line, or a JSON list (.json)",
    )
    add(
        "--templates",
        type=Path,
        help="a JSON list of texts with {} where the name goes (default: OpenShape's 64)",
    )
    add(
        "--top",
        type=whole_number(1),
        default=3,
        help="names shown for a shape (default: %(default)s)",
    )
    add(
        "--output",
        type=Path,
        help="FILE.npz, FILE.json or FILE.csv for the probabilities of all names",
    )
    add("files", nargs="+", metavar="FILE", help="meshes, point clouds, folders, a manifest.json")
    return parser


@exit_on_input_error
def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status: 1 when a file could not be used."""
    args = _parser().parse_args(arguments)
    # Worker processes import this module, and neither need nor should load JAX.
    from mixcon3d_jax.inference.classification import check_labels
    from mixcon3d_jax.inference.tables import check_table_path, write_table
    from mixcon3d_jax.models.label_files import labels_of, read_templates
    from mixcon3d_jax.models.prompts import PROMPT_TEMPLATES

    with extra("prep", "reading 3D files"):
        from mixcon3d_jax.inference.inputs import find_assets

    if args.output:
        check_table_path(args.output)
    labels = labels_of(args.labels)
    check_labels(labels)
    templates = read_templates(args.templates) if args.templates else PROMPT_TEMPLATES
    files = find_assets(args.files, args.up_axis)
    model = model_of(args)
    with plain_warnings():
        found = model.embed_files(files, mode=args.mode, workers=args.workers, shown=True)
        status = say_what_failed(found)
        if not found.files:
            return status
        classes = model.classify(found.embeddings, labels, mode=args.mode, templates=templates)
    show(found, classes, args.top)
    if args.output:
        write_table(args.output, _table(found, classes, args.mode, model.weights.description))
    return status


def show(found: "EmbeddedFiles", classes: "Classification", top: int) -> None:
    """Prints a line a shape: its name, and the names that fit best."""
    width = max(len(file.id) for file in found.files)
    for file, ranked in zip(found.files, classes.ranked(top), strict=True):
        shown = "  ".join(f"{name} {100 * share:.1f} %" for name, share in ranked)
        print(f"{file.id:<{width}}  {shown}")


def _table(found: "EmbeddedFiles", classes: "Classification", mode: str, model: str) -> "Table":
    import numpy as np

    from mixcon3d_jax.inference.tables import Table

    columns = {
        "ids": np.array([file.id for file in found.files]),
        "paths": np.array([str(file.path) for file in found.files]),
        "best": np.array(classes.best),
        "probabilities": classes.probabilities,
    }
    about = {"model": model, "mode": mode, "labels": list(classes.labels)}
    return Table(about, columns, {"probabilities": classes.labels})


if __name__ == "__main__":
    sys.exit(main())
