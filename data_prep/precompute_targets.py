"""Embeds a data set's renders and texts with a CLIP: `python -m data_prep.precompute_targets`."""

import argparse
import dataclasses
import hashlib
import shutil
import sys
from collections import Counter
from pathlib import Path

from data_prep.arguments import CLIP_HELP, command_parser, whole_number
from data_prep.embedding import open_clip
from data_prep.target_blocks import TargetBlocks
from mixcon3d_jax.commands import leaves_at_once
from mixcon3d_jax.data.schema import DatasetCard, SchemaError
from mixcon3d_jax.data.source import read_card
from mixcon3d_jax.data.writer import CHECKSUMS_FILE, write_dataset
from mixcon3d_jax.distributed.agreement import (
    as_first_process_finds,
    gather_texts,
    on_every_process,
)
from mixcon3d_jax.distributed.processes import find_processes
from mixcon3d_jax.distributed.start import start
from mixcon3d_jax.errors import InputError, exit_on_input_error
from mixcon3d_jax.files import check_writable
from mixcon3d_jax.models.clip import NUMERICS
from mixcon3d_jax.models.prompts import class_phrase

_DESCRIPTION = """\
Makes a data set of another one's shapes whose views and texts are embedded with --clip, by all
devices together.  The records have to hold their renders (--keep-renders of data_prep.assets).
Texts are embedded as they are, and those that come with a shape in 64 prompt templates, too;
retrieved ones only as they are.  Class names are embedded anew.

Interrupted, the same command continues where it was.

On several hosts, run it on each.  A Cloud TPU VM knows the others; elsewhere say
JAX_COORDINATOR_ADDRESS=HOST:PORT, JAX_NUM_PROCESSES and JAX_PROCESS_ID in the environment.  All
of them read --dataset; only the first writes --output.
"""
_EXAMPLE = """\
example:
  python -m data_prep.precompute_targets --dataset=data/my_assets --output=data/my_assets_bigg \\
      --clip=laion/CLIP-ViT-bigG-14-laion2B-39B-b160k --dtype=bfloat16
"""

# For the other hosts to come, and without a sign of life of one.
_PATIENCE_S, _HEARTBEAT_S = 600, 100


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("precompute_targets", _DESCRIPTION, _EXAMPLE)
    add = parser.add_argument
    add("--dataset", type=Path, required=True, help="the folder of the data set to embed")
    add("--clip", required=True, help=CLIP_HELP)
    add("--output", type=Path, required=True, help="the folder of the new data set")
    add("--clip-id", metavar="NAME", help="how the new data set names the CLIP")
    add("--dtype", choices=NUMERICS, default="float32", help="default: %(default)s")
    add(
        "--batch",
        type=whole_number(1),
        default=128,
        help="images that are embedded at once, on all devices (default: %(default)s)",
    )
    add(
        "--records",
        type=whole_number(1),
        default=64,
        help="records a step that an interrupted run does not repeat (default: %(default)s)",
    )
    add(
        "--prompt-texts",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="embed texts in 64 prompt templates, too (default: yes)",
    )
    return parser


@leaves_at_once
@exit_on_input_error
def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = _parser().parse_args(arguments)
    if args.output.resolve() == args.dataset.resolve():
        raise InputError(f"--output={args.output} is the data set itself; give another folder")
    card = read_card(args.dataset)
    _meet_others(args)
    as_first_process_finds(lambda: check_writable(args.output))
    clip = on_every_process(lambda: open_clip(args.clip, args.clip_id, args.dtype))
    if len(set(gather_texts(clip.fingerprint()))) > 1:
        raise InputError(f"--clip={args.clip} is not the same CLIP on all hosts")
    blocks = TargetBlocks(
        args.dataset,
        clip,
        args.output / "work",
        [class_phrase(name) for name in card.classes],
        args.batch,
        args.records,
        args.prompt_texts,
    )
    blocks.complete(card.splits)
    as_first_process_finds(lambda: _write(args, card, blocks))
    return 0


def _meet_others(args: argparse.Namespace) -> None:
    """Starts JAX with the other processes of the run, if there are any."""
    processes = find_processes("", 0, -1, _PATIENCE_S)
    if processes is None:
        return
    of_one_host = ("dataset", "clip", "output")
    settings = {f"--{k}": str(v) for k, v in vars(args).items() if k not in of_one_host}
    sums = (args.dataset / CHECKSUMS_FILE).read_bytes()
    settings["content of --dataset"] = hashlib.sha256(sums).hexdigest()[:12]
    start(processes, settings, _PATIENCE_S, _HEARTBEAT_S)


def _write(args: argparse.Namespace, card: DatasetCard, blocks: TargetBlocks) -> None:
    """Makes the data set of complete blocks, and says what was done."""
    clip, tally = blocks.clip, Counter()
    written = write_dataset(
        args.output,
        dataclasses.replace(card, clip_id=clip.id, embedding_size=clip.embedding_size),
        {split: blocks.records(split, count, tally) for split, count in card.splits.items()},
        blocks.classes(),
    )
    if written.splits != card.splits:
        raise SchemaError(f"{args.output} has {written.splits}, not {card.splits}; run it again")
    shutil.rmtree(blocks.work)
    counts = ", ".join(f"{split}: {count}" for split, count in written.splits.items())
    print(f"data set '{card.name}' in {args.output} ({counts}), embedded with {clip.id!r}")
    if cut := tally["cut"]:
        context = clip.config.text.context_length
        print(f"{cut} texts were longer than the {context} tokens of the CLIP and cut")
    if thumbnails := tally["thumbnails"]:
        print(
            f"{thumbnails} records had the embedding of a thumbnail and have none now: "
            "the picture is not stored"
        )


if __name__ == "__main__":
    sys.exit(main())
