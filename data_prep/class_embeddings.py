"""Embeds class names with a CLIP: `python -m data_prep.class_embeddings --help`."""

import argparse
import dataclasses
import json
import shutil
import sys
from collections import Counter
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
from data_prep.prompts import PROMPT_TEMPLATES, class_phrase
from data_prep.storage import check_writable
from mixcon3d_jax.errors import InputError, exit_on_input_error
from mixcon3d_jax.models.clip_folder import ClipFolder

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


class LabelsError(InputError):
    """A list of labels or templates that can't be used."""


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


def read_labels(path: Path) -> tuple[str, ...]:
    """The names in a JSON list (`.json`) or in a text file with a name a line.

    Raises:
      LabelsError: it can't be read, is empty, or names a class twice.
    """
    if path.suffix == ".json":
        labels = [label.strip() for label in _read_json_list(path)]
    else:
        labels = [line.strip() for line in _read_text(path).splitlines() if line.strip()]
    if not labels:
        raise LabelsError(f"{path} names no class")
    if "" in labels:
        raise LabelsError(f"{path}: the name of class {labels.index('')} is empty")
    twice = [name for name, n in Counter(map(class_phrase, labels)).items() if n > 1]
    if twice:
        raise LabelsError(f"{path} names the class {twice[0]!r} more than once")
    return tuple(labels)


def read_templates(path: Path) -> tuple[str, ...]:
    """The prompt templates in a JSON list.

    Raises:
      LabelsError: it can't be read, is empty, or one has no `{}`.
    """
    templates = _read_json_list(path)
    if not templates:
        raise LabelsError(f"{path} has no template")
    for index, template in enumerate(templates):
        if "{}" not in template:
            raise LabelsError(f"{path}: template {index}, {template!r}, has no {{}} for the name")
    return tuple(templates)


def _read_json_list(path: Path) -> list[str]:
    try:
        content = json.loads(_read_text(path))
    except ValueError as error:
        raise LabelsError(f"{path} is no JSON file ({error})") from error
    if not isinstance(content, list) or not all(isinstance(entry, str) for entry in content):
        raise LabelsError(f"{path} is no JSON list of strings")
    return content


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LabelsError(f"{path} can't be read as text ({error})") from error


if __name__ == "__main__":
    sys.exit(main())
