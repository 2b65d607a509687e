"""A data set's embeddings, computed block after block and kept, so that work can be resumed.

The processes of a run compute a block together; process 0 alone keeps it.
"""

import dataclasses
import functools
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float32

from data_prep.storage import DAMAGED
from mixcon3d_jax.data.schema import Record, SchemaError, Text, decode_record
from mixcon3d_jax.data.source import open_split
from mixcon3d_jax.data.writer import CHECKSUMS_FILE
from mixcon3d_jax.distributed.agreement import as_first_process_finds
from mixcon3d_jax.files import npz_bytes, write_whole
from mixcon3d_jax.models.clip_folder import ClipFolder
from mixcon3d_jax.models.prompts import PROMPT_TEMPLATES, TEXT_BATCH, embed_in_prompts
from mixcon3d_jax.progress import progress


@dataclasses.dataclass(frozen=True)
class TargetBlocks:
    """The blocks of a data set's records and of its class names.

    Attributes:
      dataset: to embed.
      clip: that embeds.
      work: where process 0 keeps the blocks.
      phrases: one for each class.
      batch: images at once.
      size: records a block.
      prompt_texts: whether texts are embedded in prompts, too.
    """

    dataset: Path
    clip: ClipFolder
    work: Path
    phrases: Sequence[str]
    batch: int
    size: int
    prompt_texts: bool

    def complete(self, splits: Mapping[str, int]) -> None:
        """Computes what an earlier run did not; called by all processes of a run.

        Args:
          splits: number of records of each.

        Raises:
          SchemaError: a record has no renders.
          ClipError: a render does not decode.
          WriteError: a block can't be kept; those before it are.
        """
        for split, count in splits.items():
            embed = functools.partial(self._embed_records, split)
            self._complete(f"records/{split}", count, embed, f"embedding {split}")
        self._complete("classes", len(self.phrases), self._embed_classes, "embedding classes")

    def records(self, split: str, count: int, tally: Counter[str]) -> Iterator[Record]:
        """The split's records with new embeddings.

        Args:
          split: whose blocks are complete.
          count: its number of records.
          tally: counts texts that were `cut`, and `thumbnails` whose embeddings are left out.
        """
        source = open_split(self.dataset, split)
        starts = range(0, count, self.size)
        for start in progress(starts, len(starts), f"writing {split}"):
            block = self._read(f"records/{split}", start)
            tally["cut"] += int(block["cut"].sum())
            views, originals, averages = (
                iter(block[name]) for name in ("views", "originals", "averages")
            )
            for number in range(start, min(start + self.size, count)):
                record = decode_record(source[number])
                texts = tuple(
                    Text(
                        text.text,
                        text.source,
                        next(originals),
                        next(averages) if self._prompts(text) else None,
                    )
                    for text in record.texts
                )
                tally["thumbnails"] += len(record.thumbnail_embedding)
                yield dataclasses.replace(
                    record,
                    view_embeddings=np.stack([next(views) for _ in record.renders]),
                    thumbnail_embedding=np.zeros((0, self.clip.embedding_size), np.float32),
                    texts=texts,
                )

    def classes(self) -> Float32[np.ndarray, "classes D"] | None:
        """The embeddings of the classes; None if there are none."""
        starts = range(0, len(self.phrases), self.size)
        rows = [self._read("classes", start)["averages"] for start in starts]
        return np.concatenate(rows) if rows else None

    def _complete(
        self,
        part: str,
        count: int,
        embed: Callable[[range], dict[str, np.ndarray]],
        what: str,
    ) -> None:
        starts = range(0, count, self.size)
        missing = as_first_process_finds(lambda: [s for s in starts if not self._has(part, s)])
        first = jax.process_index() == 0
        done = len(starts) - len(missing)
        for start in progress(missing, len(starts), what, done, shown=first):
            rows = embed(range(start, min(start + self.size, count)))
            if first:
                write_whole(self._path(part, start), npz_bytes(**rows))

    def _path(self, part: str, start: int) -> Path:
        return self.work / f"{part}-{start:09d}-{self._key}.npz"

    def _has(self, part: str, start: int) -> bool:
        try:
            self._read(part, start)
        except DAMAGED:
            return False
        return True

    def _read(self, part: str, start: int) -> dict[str, np.ndarray]:
        with np.load(self._path(part, start), allow_pickle=False) as stored:
            return dict(stored)

    @functools.cached_property
    def _key(self) -> str:
        """Changes with all that the content of a block depends on."""
        options = [self.clip.fingerprint(), self.batch, self.size, self.prompt_texts]
        key = hashlib.sha256((self.dataset / CHECKSUMS_FILE).read_bytes())
        key.update(json.dumps([*options, PROMPT_TEMPLATES, list(self.phrases)]).encode())
        return key.hexdigest()[:16]

    def _embed_records(self, split: str, numbers: range) -> dict[str, np.ndarray]:
        """The embeddings of all renders and texts of some records, in their order."""
        source = open_split(self.dataset, split)
        records = [decode_record(source[number]) for number in numbers]
        for record in records:
            if not record.renders:
                raise SchemaError(
                    f"record {record.id!r} of {self.dataset} has no renders to embed; prepare the "
                    "data set with --keep-renders"
                )
        renders = [render for record in records for render in record.renders]
        texts = [text for record in records for text in record.texts]
        strings = [text.text for text in texts]
        prompted = [text.text for text in texts if self._prompts(text)]
        return {
            "views": self.clip.embed_images(renders, batch_size=self.batch),
            "originals": self.clip.embed_texts(strings, batch_size=TEXT_BATCH),
            "averages": embed_in_prompts(self.clip, prompted),
            "cut": self.clip.are_cut(strings),
        }

    def _embed_classes(self, numbers: range) -> dict[str, np.ndarray]:
        return {"averages": embed_in_prompts(self.clip, [self.phrases[n] for n in numbers])}

    def _prompts(self, text: Text) -> bool:
        return self.prompt_texts and text.source != "retrieval"
