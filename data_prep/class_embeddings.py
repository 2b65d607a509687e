"""Embeds class names with a CLIP: `python -m data_prep.class_embeddings --help`."""

import argparse
import dataclasses
import shutil
import sys
from pathlib import Path

import numpy as np

from data_prep.arguments import CLIP_HELP, command_parser
from data_prep.class_embedding_file import (
    ClassEmbeddingsError,
    ClassEmbeddingsInfo,
    read_class_embeddings,
    templates_digest,
    write_class_embeddings,
)
from data_prep.embedding import embed_prompts, open_clip
from mixcon3d_jax.errors import InputError, exit_on_input_error
from mixcon3d_jax.files import check_writable
from mixcon3d_jax.models.clip_folder import ClipFolder
from mixcon3d_jax.models.label_files import read_labels, read_templates
from mixcon3d_jax.models.prompts import PROMPT_TEMPLATES, class_phrase

_DESCRIPTION = """\
Embeds class names with a CLIP, for zero-shot classification.  Each name is put into every prompt
template (`_` becomes a space); its embedding is the mean of the prompts' embeddings of length 1,
brought to length 1.

Writes OUTPUT, a float32 array with a row a name, and beside it OUTPUT.json, which names the labels,
the templates and the CLIP.  Interrupted, the same command continues where it was.
"""
_EXAMPLE = """\
example:
  python -m data_prep.class_embeddings --labels=names.txt --clip=small --output=names.npy
"""


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("class_embeddings", _DESCRIPTION, _EXAMPLE)
    add = parser.add_argument
    add("--labels", type=Path, required=True, help="a JSON list, or a text file with a name a line")
    add(
        "--templates",
        default="default",
        help="a JSON list of texts with {} where the name goes (default: OpenShape's 64)",
    )
    add("--clip", required=True, help=CLIP_HELP)
    add("--clip-id", metavar="NAME", help="how the CLIP is named (default: as in data_prep.assets)")
    add("--output", type=Path, required=True, help="the .npy file to write")
    return parser


@exit_on_input_error
def main(arguments: list[str] | None = None) -> None:
    """Runs the command."""
    args = _parser().parse_args(arguments)
    if args.output.suffix != ".npy":
        raise InputError(f"--output={args.output}: give a file name that ends in .npy")
    labels = read_labels(args.labels)
    templates = PROMPT_TEMPLATES
    if args.templates != "default":
        templates = read_templates(Path(args.templates))
    check_writable(args.output.parent)
    clip = open_clip(args.clip, args.clip_id)
    embed_classes(clip, labels, templates, args.output)
    print(
        f"{args.output}: {len(labels)} classes in {len(templates)} templates, embedded with CLIP "
        f"{clip.id!r} of size {clip.embedding_size}"
    )


def embed_classes(
    clip: ClipFolder, labels: tuple[str, ...], templates: tuple[str, ...], output: Path
) -> None:
    """Writes the embedding of every label, unless `output` holds exactly these.

    Raises:
      WriteError: a file can't be written; finished work is kept.
    """
    info = ClassEmbeddingsInfo(labels, clip.id, clip.fingerprint(), templates_digest(templates))
    try:
        _, earlier = read_class_embeddings(output)
        if dataclasses.replace(earlier, embeddings_sha256="") == info:
            return
    except ClassEmbeddingsError:
        pass  # missing or damaged: made again
    work = output.with_name(f"{output.name}.work")
    phrases = [class_phrase(label) for label in labels]
    embeddings = embed_prompts(clip, work, phrases, templates)
    write_class_embeddings(output, np.stack([embeddings[phrase] for phrase in phrases]), info)
    shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
