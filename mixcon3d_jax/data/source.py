"""Opens a data set, and refuses one that does not fit the run."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Float, Int32, Int64

from mixcon3d_jax.buckets import AnyPath, as_path
from mixcon3d_jax.data import schema
from mixcon3d_jax.data.writer import (
    CARD_FILE,
    CLASS_EMBEDDINGS_FILE,
    ids_file,
    is_shard,
    labels_file,
)
from mixcon3d_jax.files import read_whole

# In a data set that was copied without the shards that this host doesn't need.
STAGED_MARK = ".staged"


@dataclasses.dataclass(frozen=True)
class StoredExamples(Sequence):
    """Random access to the examples of a split, read and parsed when asked for.

    Attributes:
      raw: serialised examples.
      embedding_size: D of their embeddings.
      absent: whose shards are not on this host: (first record, record after the last, file).
    """

    raw: Sequence[bytes]
    embedding_size: int
    absent: tuple[tuple[int, int, Path], ...] = ()

    def __len__(self) -> int:
        return len(self.raw)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        for first, end, path in self.absent:
            if first <= index < end:
                raise schema.SchemaError(
                    f"record {index} is in {path}, which was not copied to this host: its part of "
                    "the data (config.data.parts) has other records"
                )
        return schema.parse_example(self.raw[index], self.embedding_size)


def read_card(directory: AnyPath) -> schema.DatasetCard:
    """What the data set in `directory` says about itself.

    Raises:
      SchemaError: if there is no finished data set, or one of another schema version.
    """
    path = as_path(directory) / CARD_FILE
    content = read_whole(path)
    if content is None:
        raise schema.SchemaError(
            f"{directory} holds no finished data set (there is no {CARD_FILE}); prepare one "
            "with a command of data_prep, or run that command again if it was interrupted"
        )
    try:
        fields = json.loads(content)
        version = fields.get("schema_version")
    except (ValueError, AttributeError) as error:  # not text, not JSON; JSON but not an object
        raise schema.SchemaError(
            f"{path} is not a data set's card ({error}); copy it again or prepare the "
            "data set again"
        ) from error
    if version != schema.SCHEMA_VERSION:
        raise schema.SchemaError(
            f"{path}: schema version {version}, while this program reads version "
            f"{schema.SCHEMA_VERSION}; prepare the data set again"
        )
    try:
        card = schema.DatasetCard(**fields)
        return dataclasses.replace(card, classes=tuple(card.classes))
    except TypeError as error:
        raise schema.SchemaError(f"{path}: {error}; prepare the data set again") from error


def check_card(
    card: schema.DatasetCard, directory: Path, clip_id: str, embedding_size: int
) -> None:
    """Raises a `SchemaError` if the data set was embedded with another CLIP than the run's."""
    if (card.clip_id, card.embedding_size) != (clip_id, embedding_size):
        raise schema.SchemaError(
            f"{directory} was embedded with CLIP {card.clip_id!r} of size {card.embedding_size}, "
            f"but the config says {clip_id!r} of size {embedding_size}; set config.clip.id and "
            "config.clip.embedding_size to the data set's, or prepare it with the config's CLIP"
        )


def open_split(directory: Path, split: str) -> Sequence[dict[str, Any]]:
    """Random access to the stored examples of a split (see `schema.decode_record`).

    Raises:
      SchemaError: if the split is unknown or empty, or a file is missing or truncated.
    """
    card = _check_split(directory, split)
    builder = tfds.builder_from_directory(str(directory))
    raw = builder.as_data_source(split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
    names, ends = split_shards(directory, split)
    absent = tuple(
        (first, end, path)
        for name, first, end in zip(names, [0, *ends[:-1]], ends, strict=True)
        if not (path := Path(directory) / name).exists()
    )
    return StoredExamples(raw, card.embedding_size, absent)


def split_shards(directory: Path, split: str) -> tuple[list[str], Int64[np.ndarray, "shards"]]:
    """The shards of a split, in order, and for each the position after its last record.

    Needs no shard to be there.
    """
    info = tfds.builder_from_directory(str(directory)).info.splits[split]
    return list(info.filenames), np.cumsum(info.shard_lengths)


def record_ids(directory: Path, split: str) -> list[str]:
    """The id of every record of a split, in order, without reading any.

    Raises:
      SchemaError: as `open_split`.
    """
    _check_split(directory, split)
    return json.loads((Path(directory) / ids_file(split)).read_text())


def record_labels(directory: Path, split: str) -> Int32[np.ndarray, "records"]:
    """For every record of a split the index of its class in the card; -1 where it has none.

    Raises:
      SchemaError: as `open_split`, and if the data set has no classes.
    """
    if not _check_split(directory, split).classes:
        raise schema.SchemaError(f"{directory} has no classes, so its records have no labels")
    return np.load(Path(directory) / labels_file(split), allow_pickle=False)


def class_embeddings(directory: Path) -> Float[np.ndarray, "classes D"]:
    """The CLIP text embedding of each of the card's classes, float32.

    Raises:
      SchemaError: if the data set has none, or a file is missing or truncated.
    """
    card = read_card(directory)
    if not card.classes:
        raise schema.SchemaError(f"{directory} has no classes, so there is nothing to choose among")
    _check_files(card, directory)
    return np.load(Path(directory) / CLASS_EMBEDDINGS_FILE, allow_pickle=False)


def _check_split(directory: Path, split: str) -> schema.DatasetCard:
    card = read_card(directory)
    if split not in card.splits:
        raise schema.SchemaError(
            f"{directory} has no split {split!r}; it has {', '.join(sorted(card.splits))}"
        )
    if not card.splits[split]:
        raise schema.SchemaError(f"{directory}: split {split!r} has no records; choose another")
    _check_files(card, directory)
    return card


def _check_files(card: schema.DatasetCard, directory: Path) -> None:
    staged = (Path(directory) / STAGED_MARK).exists()
    for name, size in card.files.items():
        path = Path(directory) / name
        found = path.stat().st_size if path.exists() else None
        if found is None and staged and is_shard(name):
            continue
        if found != size:
            state = "is missing" if found is None else f"has {found} bytes instead of {size}"
            raise schema.SchemaError(f"{path} {state}; copy it again or prepare the data set again")
