"""Writes a data set: ArrayRecord shards first, what makes them a data set last."""

import dataclasses
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from jaxtyping import Float

from mixcon3d_jax.data import schema
from mixcon3d_jax.errors import InputError

CARD_FILE = "card.json"
CLASS_EMBEDDINGS_FILE = "class_embeddings.npy"
_OTHER_FILES = (CLASS_EMBEDDINGS_FILE, "dataset_info.json", "features.json")


class WriteError(InputError):
    """A data set cannot be written; most often the disk is full."""


def write_dataset(
    directory: Path,
    card: schema.DatasetCard,
    splits: Mapping[str, Iterable[schema.Record]],
    class_embeddings: Float[np.ndarray, "classes D"] | None = None,
    records_per_shard: int = 1024,
) -> schema.DatasetCard:
    """Writes `splits` into `directory` as one TFDS data set.

    The card is written last: a folder without one is not (yet) a data set, and `open_split` says
    so.  What an earlier attempt left in the folder is removed first.

    Args:
      directory: made if missing.
      card: its `splits` and `files` are filled in here.
      splits: split name -> records, in the order in which they are to be stored.
      class_embeddings: one row for each of `card.classes`.
      records_per_shard: how many records a file holds.

    Returns:
      The card as written.

    Raises:
      SchemaError: if a record breaks the contract, or the class embeddings don't fit the classes.
      WriteError: if the disk is full or can't be written.
    """
    expected = (len(card.classes), card.embedding_size)
    if card.classes and (class_embeddings is None or class_embeddings.shape != expected):
        found = None if class_embeddings is None else class_embeddings.shape
        raise schema.SchemaError(
            f"data set {card.name!r}: class embeddings of shape {expected} expected, got {found}"
        )
    with _explain_failure(directory):
        directory.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(directory, card.name)
    features = schema.record_features(card.embedding_size)
    shard_lengths, files = {}, {}
    for split, records in splits.items():
        serialized = (
            features.serialize_example(schema.encode_record(record, card.embedding_size))
            for record in records
        )
        written = _write_shards(directory, serialized, records_per_shard)
        shard_lengths[split] = [count for _, count in written]
        for index, (temporary, _) in enumerate(written):
            name = f"{card.name}-{split}.array_record-{index:05d}-of-{len(written):05d}"
            temporary.rename(directory / name)
            files[name] = (directory / name).stat().st_size
    with _explain_failure(directory):
        _write_tfds_metadata(directory, card, features, shard_lengths, files)
        if card.classes:
            np.save(directory / CLASS_EMBEDDINGS_FILE, class_embeddings.astype(np.float32))
        others = [path for path in directory.iterdir() if path.name in _OTHER_FILES]
        files |= {path.name: path.stat().st_size for path in sorted(others)}
        sizes = {split: sum(lengths) for split, lengths in shard_lengths.items()}
        card = dataclasses.replace(card, splits=sizes, files=files)
        temporary = directory / f".{CARD_FILE}.tmp"
        temporary.write_text(json.dumps(dataclasses.asdict(card), indent=1) + "\n")
        temporary.rename(directory / CARD_FILE)
    return card


def _remove_leftovers(directory: Path, name: str) -> None:
    """Removes an earlier attempt; its card first, so that the folder never passes for finished."""
    (directory / CARD_FILE).unlink(missing_ok=True)
    for pattern in (*_OTHER_FILES, ".shard-*.tmp", f"{name}-*.array_record-*"):
        for path in directory.glob(pattern):
            path.unlink()


def _write_shards(
    directory: Path, serialized: Iterable[bytes], records_per_shard: int
) -> list[tuple[Path, int]]:
    """Fills temporary shards one after another; returns each with its number of records."""
    shards: list[tuple[Path, int]] = []
    rest = iter(serialized)
    for first in rest:
        path = directory / f".shard-{len(shards):05d}.tmp"
        others = itertools.islice(rest, records_per_shard - 1)
        shards.append((path, _write_shard(path, itertools.chain([first], others))))
    return shards


def _write_shard(path: Path, examples: Iterable[bytes]) -> int:
    """Writes one shard; returns its number of records."""
    # One record a group: training reads single records in random order.
    writer = ArrayRecordWriter(str(path), "group_size:1")
    count = size = 0
    try:
        for example in examples:
            writer.write(example)
            count, size = count + 1, size + len(example)
    finally:
        # The writer works in the background: `write` never fails, `close` tells of any failure.
        with _explain_failure(path, size):
            writer.close()
    return count


@contextmanager
def _explain_failure(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turns the operating system's refusal to write into a message that says what to do."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # ArrayRecord's writer raises RuntimeError
        size = "" if needed is None else f"; it takes {needed / 1e6:.2f} MB"
        raise WriteError(
            f"{path} cannot be written ({error}{size}); make room or choose another folder, then "
            "run the same command again"
        ) from error


def _write_tfds_metadata(
    directory: Path,
    card: schema.DatasetCard,
    features: tfds.features.FeaturesDict,
    shard_lengths: Mapping[str, list[int]],
    files: Mapping[str, int],
) -> None:
    template = tfds.core.ShardedFileTemplate(
        data_dir=directory, dataset_name=card.name, filetype_suffix="array_record"
    )
    splits = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=lengths,
            num_bytes=sum(
                size
                for name, size in files.items()
                if name.startswith(f"{card.name}-{split}.array_record-")
            ),
            filename_template=template,
        )
        for split, lengths in shard_lengths.items()
    ]
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
