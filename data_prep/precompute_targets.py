"""Embeds a data set's renders and texts with a CLIP: `python -m data_prep.precompute_targets`."""

import argparse
import dataclasses
import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from data_prep.arguments import CLIP_HELP, command_parser, whole_number
from data_prep.embedding import embed_prompts, open_clip
from data_prep.prompts import PROMPT_TEMPLATES, class_phrase, prompts
from data_prep.storage import DAMAGED, check_writable
from mixcon3d_jax.data.schema import Record, SchemaError, Text, decode_record
from mixcon3d_jax.data.source import open_split, read_card
from mixcon3d_jax.data.writer import CHECKSUMS_FILE, write_dataset
from mixcon3d_jax.errors import InputError, exit_on_input_error
from mixcon3d_jax.files import npz_bytes, write_whole
from mixcon3d_jax.models.clip import NUMERICS
from mixcon3d_jax.models.clip_folder import ClipFolder
from mixcon3d_jax.models.clip_images import decode_image
from mixcon3d_jax.progress import progress

_DESCRIPTION = """\
Makes a data set of another one's shapes whose views and texts are embedded with --clip, by all
devices of this machine together.  The records have to hold their renders (--keep-renders of
data_prep.assets).  Texts are embedded as they are, and those that come with a shape in 64 prompt
templates, too; retrieved ones only as they are.  Class names are embedded anew.

Interrupted, the same command continues where it was.
"""
_EXAMPLE = """\
example:
  python -m data_prep.precompute_targets --dataset=data/my_assets --output=data/my_assets_bigg \\
      --clip=laion/CLIP-ViT-bigG-14-laion2B-39B-b160k --dtype=bfloat16
"""
_TEXT_BATCH = 256


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


@exit_on_input_error
def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = _parser().parse_args(arguments)
    if args.output.resolve() == args.dataset.resolve():
        raise InputError(f"--output={args.output} is the data set itself; give another folder")
    card = read_card(args.dataset)
    check_writable(args.output)
    clip = open_clip(args.clip, args.clip_id, args.dtype)
    work = args.output / "work"
    embedder = _Embedder(args.dataset, clip, work, args.batch, args.records, args.prompt_texts)
    splits = {split: embedder.records(split, count) for split, count in card.splits.items()}
    phrases = [class_phrase(name) for name in card.classes]
    of_classes = embed_prompts(clip, work, phrases)
    written = write_dataset(
        args.output,
        dataclasses.replace(card, clip_id=clip.id, embedding_size=clip.embedding_size),
        splits,
        np.stack([of_classes[phrase] for phrase in phrases]) if phrases else None,
    )
    if written.splits != card.splits:
        raise SchemaError(f"{args.output} has {written.splits}, not {card.splits}; run it again")
    shutil.rmtree(work)
    counts = ", ".join(f"{split}: {count}" for split, count in written.splits.items())
    print(f"data set '{card.name}' in {args.output} ({counts}), embedded with {clip.id!r}")
    if embedder.cut:
        context = clip.config.text.context_length
        print(f"{embedder.cut} texts were longer than the {context} tokens of the CLIP and cut")
    if embedder.thumbnails:
        print(
            f"{embedder.thumbnails} records had the embedding of a thumbnail and have none now: "
            "the picture is not stored"
        )
    return 0


@dataclasses.dataclass
class _Embedder:
    """Embeds block after block of records; one that an earlier run embedded is read.

    Attributes:
      dataset: to embed.
      clip: that embeds.
      work: keeps the blocks.
      batch: images at once.
      block: records a block.
      prompt_texts: whether prompts are embedded, too.
      cut: texts that were longer than the context.
      thumbnails: records whose thumbnail's embedding was left out.
    """

    dataset: Path
    clip: ClipFolder
    work: Path
    batch: int
    block: int
    prompt_texts: bool
    cut: int = 0
    thumbnails: int = 0

    def records(self, split: str, count: int) -> Iterator[Record]:
        """The split's records with new embeddings."""
        source = open_split(self.dataset, split)
        sums = (self.dataset / CHECKSUMS_FILE).read_bytes()
        options = [self.clip.fingerprint(), self.batch, self.block, self.prompt_texts]
        key = hashlib.sha256(sums + json.dumps([split, *options, PROMPT_TEMPLATES]).encode())
        starts = range(0, count, self.block)
        for start in progress(starts, len(starts), f"embedding {split}"):
            numbers = range(start, min(start + self.block, count))
            records = [decode_record(source[number]) for number in numbers]
            path = self.work / f"{split}-{start:09d}-{key.hexdigest()[:16]}.npz"
            try:
                with np.load(path, allow_pickle=False) as stored:
                    rows = dict(stored)
            except DAMAGED:
                rows = self._embed(records)
                write_whole(path, npz_bytes(**rows))
            self.cut += int(rows["cut"])
            yield from self._filled(records, rows)

    def _embed(self, records: Sequence[Record]) -> dict[str, np.ndarray]:
        """The embeddings of all renders and texts of some records, in their order."""
        for record in records:
            if not record.renders:
                raise SchemaError(
                    f"record {record.id!r} of {self.dataset} has no renders to embed; prepare the "
                    "data set with --keep-renders"
                )
        images = (decode_image(render) for record in records for render in record.renders)
        texts = [text.text for record in records for text in record.texts]
        prompted = [text.text for record in records for text in record.texts if self._prompts(text)]
        filled = [prompt for text in prompted for prompt in prompts(text)]
        averages = self.clip.embed_texts(filled, batch_size=_TEXT_BATCH)
        size = (len(prompted), len(PROMPT_TEMPLATES), self.clip.embedding_size)
        averages = averages.reshape(size).mean(axis=1)
        return {
            "views": self.clip.embed_images(images, batch_size=self.batch),
            "originals": self.clip.embed_texts(texts, batch_size=_TEXT_BATCH),
            "averages": averages / np.linalg.norm(averages, axis=1, keepdims=True),
            "cut": np.array(self.clip.count_cut(texts) if texts else 0),
        }

    def _filled(self, records: Sequence[Record], rows: dict[str, np.ndarray]) -> Iterator[Record]:
        views, originals, averages = (iter(rows[k]) for k in ("views", "originals", "averages"))
        for record in records:
            self.thumbnails += len(record.thumbnail_embedding)
            texts = tuple(
                Text(
                    text.text,
                    text.source,
                    next(originals),
                    next(averages) if self._prompts(text) else None,
                )
                for text in record.texts
            )
            yield dataclasses.replace(
                record,
                view_embeddings=np.stack([next(views) for _ in record.renders]),
                thumbnail_embedding=np.zeros((0, self.clip.embedding_size), np.float32),
                texts=texts,
            )

    def _prompts(self, text: Text) -> bool:
        return self.prompt_texts and text.source != "retrieval"


if __name__ == "__main__":
    sys.exit(main())
