"""A page to try a trained model on: `python -m mixcon3d_jax.demo --help`."""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mixcon3d_jax.arguments import command_parser, whole_number
from mixcon3d_jax.errors import exit_on_input_error
from mixcon3d_jax.extras import extra
from mixcon3d_jax.inference.command_line import add_model_flags, model_of

if TYPE_CHECKING:
    from mixcon3d_jax.inference.model import Model

_DESCRIPTION = """\
Serves a page on which a mesh or a point cloud is seen in 3D, with its renders and with the names
that fit it best; and, with an index, on which shapes are found by words, a picture or a shape.

The page is for this machine alone unless --host says otherwise, and fetches nothing from others.
"""
_EXAMPLE = """\
example:
  python -m mixcon3d_jax.demo --model=runs/my_assets --index=shapes.npz
"""
_LABELS = "airplane,bottle,car,chair,cup,lamp,sofa,table"


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("mixcon3d_jax.demo", _DESCRIPTION, _EXAMPLE)
    add_model_flags(parser, batch_size=1)
    add = parser.add_argument
    add("--index", type=Path, help="the .npz of shapes to search among, made by embed")
    add(
        "--labels",
        default=_LABELS,
        metavar="A,B,C|FILE",
        help="names to begin with, as for classify (default: %(default)s)",
    )
    add("--host", default="127.0.0.1", help="address to listen at (default: %(default)s)")
    add("--port", type=whole_number(1), default=7860, help="to listen at (default: %(default)s)")
    add(
        "--most-megabytes",
        type=whole_number(1),
        default=100,
        help="MiB that a file may have which is dropped on the page (default: %(default)s)",
    )
    return parser


@exit_on_input_error
def main(arguments: list[str] | None = None) -> None:
    """Runs the command."""
    args = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="mixcon3d_demo_") as folder:
        # All that is uploaded and shown; read when Gradio is imported.
        os.environ["GRADIO_TEMP_DIR"] = folder
        with extra("demo", "the page"):
            from mixcon3d_jax.web.page import build_page
            from mixcon3d_jax.web.server import serve
        from mixcon3d_jax.inference.index import read_index
        from mixcon3d_jax.models.label_files import labels_of

        labels = labels_of(args.labels)
        model = model_of(args)
        index = read_index(args.index, model.weights) if args.index else None
        print("compiling ...", flush=True)
        _warm_up(model, labels)
        page = build_page(model, labels, index, Path(folder))
        serve(page, args.host, args.port, args.most_megabytes << 20)


def _warm_up(model: "Model", labels: tuple[str, ...]) -> None:
    """Compiles all that answers need, and embeds the names."""
    import numpy as np

    from mixcon3d_jax.inference.clouds import prepare_clouds
    from mixcon3d_jax.web.shapes import Shape

    points = np.random.default_rng(0).normal(size=(100, 3))
    (prepared,) = prepare_clouds([points], None, "y", False, model.preparation("fused"))
    shape = Shape("warm-up", prepared, model)
    for mode in model.modes:
        model.classify(shape.embedding(mode), labels, mode=mode)


if __name__ == "__main__":
    sys.exit(main())
