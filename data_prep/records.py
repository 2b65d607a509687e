"""Prepared assets and embeddings -> the records and the card of a data set."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.embedding import embed_prompts, embed_texts, embed_views
from data_prep.prepare_asset import Outcome, PrepareOptions, read_prepared
from mixcon3d_jax.assets import NUM_VIEWS
from mixcon3d_jax.assets.manifest import Entry
from mixcon3d_jax.data.schema import DatasetCard, Record, Text
from mixcon3d_jax.data.writer import write_dataset
from mixcon3d_jax.models.clip_folder import ClipFolder
from mixcon3d_jax.models.prompts import class_phrase


@dataclass(frozen=True)
class RecordOptions:
    """What records hold.

    Attributes:
      name: the data set's name.
      prompt_texts: texts are embedded in the prompt templates too, not only as they are.
      keep_renders: records hold the renders themselves.
    """

    name: str
    prompt_texts: bool
    keep_renders: bool


@dataclass(frozen=True)
class _Embeddings:
    views: Mapping[str, np.ndarray]
    originals: Mapping[str, np.ndarray]
    prompt_avgs: Mapping[str, np.ndarray]


def write_records(
    output: Path,
    work: Path,
    entries: Sequence[Entry],
    outcomes: Sequence[Outcome],
    clip: ClipFolder,
    prepare_options: PrepareOptions,
    options: RecordOptions,
    extra_files: Mapping[str, bytes],
) -> DatasetCard:
    """Embeds what was prepared and writes the data set; assets that failed are left out.

    The classes are those of the whole manifest in sorted order, so that a failure does not
    renumber them.

    Raises:
      InputError: when a file cannot be written; finished work is kept.
    """
    assets = [
        (entry.id, outcome.fingerprint) for entry, outcome in zip(entries, outcomes, strict=True)
    ]
    views = embed_views(clip, work, assets, prepare_options.render_size)
    good = [entry for entry, (_, fingerprint) in zip(entries, assets, strict=True) if fingerprint]
    texts = [text for entry in good for text in (entry.text, *entry.captions)]
    classes = sorted({entry.class_name for entry in entries})
    phrases = [class_phrase(name) for name in classes]
    prompt_avgs = embed_prompts(clip, work, [*phrases, *(texts if options.prompt_texts else ())])
    embeddings = _Embeddings(
        views={entry.id: rows for entry, rows in zip(entries, views, strict=True)},
        originals=embed_texts(clip, work, texts),
        prompt_avgs=prompt_avgs if options.prompt_texts else {},
    )
    card = DatasetCard(
        name=options.name,
        clip_id=clip.id,
        embedding_size=clip.embedding_size,
        num_points=prepare_options.num_points,
        num_views=NUM_VIEWS,
        classes=tuple(classes),
    )
    splits = {
        split: _records(work, _mixed(good, split, prepare_options.seed), embeddings, options)
        for split in sorted({entry.split for entry in good})
    }
    class_embeddings = np.stack([prompt_avgs[phrase] for phrase in phrases])
    return write_dataset(output, card, splits, class_embeddings, extra_files=extra_files)


def _mixed(entries: Sequence[Entry], split: str, seed: int) -> list[Entry]:
    """A split's entries in an order that mixes classes, whatever the manifest's order is."""

    def rank(entry: Entry) -> bytes:
        return hashlib.sha256(f"{seed} {entry.id}".encode()).digest()

    return sorted((entry for entry in entries if entry.split == split), key=rank)


def _records(
    work: Path, entries: Sequence[Entry], embeddings: _Embeddings, options: RecordOptions
) -> Iterator[Record]:
    def text(content: str, source: str) -> Text:
        return Text(
            content, source, embeddings.originals[content], embeddings.prompt_avgs.get(content)
        )

    for entry in entries:
        prepared = read_prepared(work, entry.id)
        views = embeddings.views[entry.id]
        yield Record(
            id=entry.id,
            dataset=options.name,
            class_name=entry.class_name,
            points=prepared.points,
            colors=prepared.colors,
            view_embeddings=views,
            thumbnail_embedding=np.zeros((0, views.shape[1]), np.float32),
            texts=(text(entry.text, "text"), *(text(c, "caption") for c in entry.captions)),
            renders=prepared.renders if options.keep_renders else (),
        )
