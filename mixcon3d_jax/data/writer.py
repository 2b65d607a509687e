"""Writes a data set: ArrayRecord shards first, what makes them a data set last."""

import dataclasses
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from jaxtyping import Float

from mixcon3d_jax.data import schema

CARD_FILE = "card.json"
CLASS_EMBEDDINGS_FILE = "class_embeddings.npy"


def write_dataset(
    directory: Path,
    card: schema.DatasetCard,
    splits: Mapping[str, Iterable[schema.Record]],
    class_embeddings: Float[np.ndarray, "classes D"] | None = None,
    records_per_shard: int = 1024,
) -> schema.DatasetCard:
    """Writes `splits` into `directory` as one TFDS data set.

    The card is written last: a folder without one is not (yet) a data set, and `open_dataset` says
    so.  Shards of an earlier, unfinished attempt are replaced.

    Args:
      directory: made if missing.
      card: its `splits` and `shards` are filled in here.
      splits: split name -> records, in the order in which they are to be stored.
      class_embeddings: one row for each of `card.classes`.
      records_per_shard: how many records a file holds.

    Returns:
      The card as written.

    Raises:
      SchemaError: if a record breaks the contract, or the class embeddings don't fit the classes.
      OSError: if the disk is full or can't be written.
    """
    expected = (len(card.classes), card.embedding_size)
    if card.classes and (class_embeddings is None or class_embeddings.shape != expected):
        found = None if class_embeddings is None else class_embeddings.shape
        raise schema.SchemaError(
            f"data set {card.name!r}: class embeddings of shape {expected} expected, got {found}"
        )
    directory.mkdir(parents=True, exist_ok=True)
    (directory / CARD_FILE).unlink(missing_ok=True)
    features = schema.record_features(card.embedding_size)
    template = tfds.core.ShardedFileTemplate(
        data_dir=directory, dataset_name=card.name, filetype_suffix="array_record"
    )
    infos, shards = [], {}
    for split, records in splits.items():
        serialized = (
            features.serialize_example(schema.encode_record(record, card.embedding_size))
            for record in records
        )
        written = _write_shards(directory, serialized, records_per_shard)
        lengths = [count for _, count in written]
        for index, (temporary, _) in enumerate(written):
            final = f"{card.name}-{split}.array_record-{index:05d}-of-{len(written):05d}"
            temporary.rename(directory / final)
            shards[final] = (directory / final).stat().st_size
        infos.append(
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=lengths,
                num_bytes=sum(shards[name] for name in list(shards)[-len(written) :]),
                filename_template=template,
            )
        )
    card = dataclasses.replace(
        card, splits={info.name: info.num_examples for info in infos}, shards=shards
    )
    if card.classes:
        np.save(directory / CLASS_EMBEDDINGS_FILE, class_embeddings.astype(np.float32))
    _write_tfds_metadata(directory, card, features, infos)
    temporary = directory / f".{CARD_FILE}.tmp"
    temporary.write_text(json.dumps(dataclasses.asdict(card), indent=1) + "\n")
    temporary.rename(directory / CARD_FILE)
    return card


def _write_shards(
    directory: Path, serialized: Iterable[bytes], records_per_shard: int
) -> list[tuple[Path, int]]:
    """Fills temporary shards one after another; returns each with its number of records."""
    shards: list[tuple[Path, int]] = []
    writer, count = None, 0
    try:
        for example in serialized:
            if writer is None:
                path = directory / f".shard-{len(shards):05d}.tmp"
                _require_space(path, len(example) * records_per_shard)
                # One record a group: training reads single records in random order.
                writer = ArrayRecordWriter(str(path), "group_size:1")
            writer.write(example)
            count += 1
            if count == records_per_shard:
                writer.close()
                shards.append((path, count))
                writer, count = None, 0
    finally:
        if writer is not None:
            writer.close()
    if count:
        shards.append((path, count))
    return shards


def _require_space(path: Path, needed: int) -> None:
    """The ArrayRecord writer does not report a full disk, so look before each shard."""
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise OSError(
            28,  # ENOSPC
            f"{needed / 1e6:.0f} MB are needed for the next shard and {free / 1e6:.0f} MB are free",
            os.fspath(path),
        )


def _write_tfds_metadata(
    directory: Path,
    card: schema.DatasetCard,
    features: tfds.features.FeaturesDict,
    splits: list[tfds.core.SplitInfo],
) -> None:
    identity = tfds.core.dataset_info.DatasetIdentity(
        name=card.name,
        version=tfds.core.Version(f"{card.schema_version}.0.0"),
        data_dir=str(directory),
        module_name="",
    )
    info = tfds.core.DatasetInfo(
        builder=identity,
        features=features,
        description=f"{card.name}: shapes with the CLIP embeddings of {card.clip_id}",
    )
    info.set_file_format(tfds.core.FileFormat.ARRAY_RECORD)
    info.set_splits(tfds.core.SplitDict(splits))
    info.write_to_directory(directory)
