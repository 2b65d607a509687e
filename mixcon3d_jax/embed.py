"""Embeds meshes and point clouds with a trained model: `python -m mixcon3d_jax.embed --help`."""

import sys
from pathlib import Path

from mixcon3d_jax.arguments import command_parser
from mixcon3d_jax.errors import exit_on_input_error, plain_warnings
from mixcon3d_jax.extras import extra
from mixcon3d_jax.inference.command_line import (
    MODES,
    add_asset_flags,
    add_mode_flag,
    add_model_flags,
    model_of,
    say_what_failed,
)

_DESCRIPTION = """\
Embeds meshes (GLB, glTF, OBJ, PLY, OFF, STL) and point clouds (PLY, NPY, NPZ) with a trained model.

The output holds ids, paths, embeddings of length 1 (float32), and which model made them.  An .npz
is an index for `python -m mixcon3d_jax.retrieve`.  A file that can't be used is named and left out;
the exit status is then 1.
"""
_EXAMPLE = """\
example:
  python -m mixcon3d_jax.embed --model=runs/my_assets --up-axis=y --output=shapes.npz my_assets/
"""


@exit_on_input_error
def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status: 1 when a file could not be used."""
    parser = command_parser("mixcon3d_jax.embed", _DESCRIPTION, _EXAMPLE)
    add_model_flags(parser)
    add_asset_flags(parser)
    add_mode_flag(parser)
    parser.add_argument(
        "--output", type=Path, required=True, help="FILE.npz, FILE.json or FILE.csv to write"
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="meshes, point clouds, folders, a manifest.json"
    )
    args = parser.parse_args(arguments)
    # Worker processes import this module, and neither need nor should load JAX.
    from mixcon3d_jax.inference.index import Index, write_index
    from mixcon3d_jax.inference.tables import check_table_path

    with extra("prep", "reading 3D files"):
        from mixcon3d_jax.inference.inputs import find_assets

    check_table_path(args.output)
    files = find_assets(args.files, args.up_axis)
    model = model_of(args)
    with plain_warnings():
        found = model.embed_files(files, mode=args.mode, workers=args.workers, shown=True)
    status = say_what_failed(found)
    if found.files:
        index = Index.of(model.weights, args.mode, found)
        write_index(args.output, index)
        count = "1 shape" if len(index) == 1 else f"{len(index):,} shapes"
        size = index.embeddings.shape[1]
        print(f"{args.output}: {count} {MODES[args.mode]}, {size} numbers each, by {index.model}")
    return status


if __name__ == "__main__":
    sys.exit(main())
