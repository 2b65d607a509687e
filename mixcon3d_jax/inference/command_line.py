"""Flags and words that the commands which use a model have in common."""

import argparse
import sys
from typing import TYPE_CHECKING

from mixcon3d_jax.arguments import CLIP_HELP, whole_number

if TYPE_CHECKING:  # worker processes import this module, and neither need nor should load JAX
    from mixcon3d_jax.inference.files import EmbeddedFiles
    from mixcon3d_jax.inference.model import Model

# Ways of looking at shapes, and what they are called.
MODES = {"point": "by points", "fused": "by points and renders"}


def add_model_flags(parser: argparse.ArgumentParser, batch_size: int | None = None) -> None:
    """Which model, and which CLIP with it.

    Args:
      parser: that gets the flags.
      batch_size: of a command that has no use for another one; None lets the user say it.
    """
    add = parser.add_argument
    add(
        "--model",
        required=True,
        metavar="PATH",
        help="a workdir, for its newest checkpoint; WORKDIR/best, WORKDIR/checkpoints/STEP; or a "
        ".pt or .safetensors of `python -m mixcon3d_jax.export`",
    )
    add(
        "--weights",
        choices=("ema", "raw"),
        default="ema",
        help="the running averages, or what training moves (default: %(default)s)",
    )
    add("--clip", help=f"{CLIP_HELP} (default: the one that the model was trained with)")
    add("--clip-id", metavar="NAME", help="the name of that CLIP, where it gives itself another")
    add(
        "--clip-dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of the CLIP's towers (default: %(default)s)",
    )
    if batch_size:
        parser.set_defaults(batch_size=batch_size)
        return
    add(
        "--batch-size",
        type=whole_number(1),
        help="shapes that are embedded at once (default: 16 on a CPU, else 64)",
    )


def add_asset_flags(parser: argparse.ArgumentParser) -> None:
    """How assets are read."""
    add = parser.add_argument
    add(
        "--up-axis",
        choices=("y", "z"),
        help="the axis that points up in the files; needed for all but glTF, which says y",
    )
    add(
        "--workers",
        type=whole_number(0),
        default=0,
        help="processes that load and render; 0: threads of this process (default: %(default)s)",
    )


def add_mode_flag(parser: argparse.ArgumentParser) -> None:
    """How shapes are looked at."""
    parser.add_argument(
        "--mode",
        choices=tuple(MODES),
        default="point",
        help="by points, or fused with 12 renders (default: %(default)s)",
    )


def model_of(args: argparse.Namespace) -> "Model":
    """Loads what `add_model_flags` names.

    Raises:
      InputError: if there is no such model.
    """
    from mixcon3d_jax.host_memory import keep_freed_memory
    from mixcon3d_jax.inference.model import load

    keep_freed_memory()
    return load(
        args.model,
        weights=args.weights,
        clip=args.clip,
        clip_id=args.clip_id,
        clip_dtype=args.clip_dtype,
        batch_size=args.batch_size,
    )


def say_what_failed(found: "EmbeddedFiles") -> int:
    """Says on stderr what was mended in files, and which could not be used; the exit status."""
    for file, note in found.notes:
        print(f"warning: {file.path}: {note}", file=sys.stderr)
    for _, reason in found.failures:
        print(f"failed: {reason}", file=sys.stderr)
    if found.failures:
        count = len(found.failures)
        print(f"error: {count} of {count + len(found.files)} files failed", file=sys.stderr)
    return int(bool(found.failures))
