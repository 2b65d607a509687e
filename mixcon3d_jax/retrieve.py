"""Finds shapes by a text, an image or another shape: `python -m mixcon3d_jax.retrieve --help`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mixcon3d_jax.arguments import command_parser, whole_number
from mixcon3d_jax.errors import exit_on_input_error, plain_warnings
from mixcon3d_jax.inference.command_line import add_asset_flags, add_model_flags, model_of

if TYPE_CHECKING:
    import numpy as np

    from mixcon3d_jax.inference.index import Index
    from mixcon3d_jax.inference.model import Model
    from mixcon3d_jax.inference.tables import Table

_DESCRIPTION = """\
Finds the shapes of an index, made by `python -m mixcon3d_jax.embed`, that are closest to a query.

The query is a text, an image or a shape; a flag that is given several times asks several queries.
Every embedding of the index is compared (an index of a million is no trouble), by NumPy or FAISS.
"""
_EXAMPLE = """\
example:
  python -m mixcon3d_jax.retrieve --model=runs/my_assets --index=shapes.npz --text="a red chair"
"""


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("mixcon3d_jax.retrieve", _DESCRIPTION, _EXAMPLE)
    add_model_flags(parser)
    add = parser.add_argument
    add("--index", type=Path, required=True, help="the .npz of shapes to search among")
    queries = parser.add_mutually_exclusive_group(required=True)
    queries.add_argument("--text", action="append", help="a text, taken as it is")
    queries.add_argument("--image", action="append", metavar="FILE", help="a PNG or JPEG")
    queries.add_argument("--shape", action="append", metavar="FILE", help="a mesh or point cloud")
    add("--top", type=whole_number(1), default=10, help="shapes to find (default: %(default)s)")
    add(
        "--backend",
        choices=("numpy", "faiss"),
        default="numpy",
        help="what compares; faiss is an extra (default: %(default)s)",
    )
    add("--output", type=Path, help="FILE.npz, FILE.json or FILE.csv for what was found")
    add_asset_flags(parser)
    return parser


@exit_on_input_error
def main(arguments: list[str] | None = None) -> None:
    """Runs the command."""
    args = _parser().parse_args(arguments)
    # Worker processes import this module, and neither need nor should load JAX.
    from mixcon3d_jax.inference.classification import unit_rows
    from mixcon3d_jax.inference.index import read_index
    from mixcon3d_jax.inference.search import nearest
    from mixcon3d_jax.inference.tables import check_table_path, write_table

    if args.output:
        check_table_path(args.output)
    model = model_of(args)
    index = read_index(args.index, model.weights)
    with plain_warnings():
        queries = unit_rows(_embedded_queries(model, args, index.mode))
    rows, cosines = nearest(index.embeddings, queries, args.top, args.backend)
    asked = args.text or args.image or args.shape
    for query, of_query, values in zip(asked, rows, cosines, strict=True):
        print(f"{query[:80]}:")
        for rank, (row, cosine) in enumerate(zip(of_query, values, strict=True), 1):
            print(f"{rank:>4}  {cosine:.3f}  {index.ids[row]}")
    if args.output:
        write_table(args.output, _table(asked, index, rows, cosines))


def _embedded_queries(model: "Model", args: argparse.Namespace, mode: str) -> "np.ndarray":
    if args.text:
        return model.embed_text(args.text)
    if args.image:
        return model.embed_images(args.image)
    return model.embed_assets(args.shape, args.up_axis, mode=mode, workers=args.workers)


def _table(asked: list[str], index: "Index", rows: "np.ndarray", cosines: "np.ndarray") -> "Table":
    import numpy as np

    from mixcon3d_jax.inference.tables import Table

    count = rows.shape[1]
    columns = {
        "queries": np.repeat(np.array(asked), count),
        "ranks": np.tile(np.arange(1, count + 1), len(asked)),
        "cosines": cosines.ravel(),
        "ids": index.ids[rows.ravel()],
        "paths": index.paths[rows.ravel()],
    }
    return Table({"model": index.model, "mode": index.mode}, columns)


if __name__ == "__main__":
    sys.exit(main())
