"""Writes a data set beside an earlier one, and takes its place when all of it is there."""

import dataclasses
import itertools
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from jaxtyping import Float

from mixcon3d_jax.data import schema
from mixcon3d_jax.files import WriteError

CARD_FILE = "card.json"
CLASS_EMBEDDINGS_FILE = "class_embeddings.npy"
# Where a data set lies until it is complete, inside its own folder.
_UNFINISHED = ".unfinished"


def write_dataset(
    directory: Path,
    card: schema.DatasetCard,
    splits: Mapping[str, Iterable[schema.Record]],
    class_embeddings: Float[np.ndarray, "classes D"] | None = None,
    records_per_shard: int = 1024,
    extra_files: Mapping[str, bytes] | None = None,
) -> schema.DatasetCard:
    """Writes `splits` into `directory` as one TFDS data set.

    Everything is written into a folder of its own first and moved at the end, the card last.  An
    earlier data set in `directory` stays as it is until then, whatever fails; a folder without a
    card holds no (finished) data set, and `open_split` says so.

    Args:
      directory: made if missing.
      card: its `splits` and `files` are filled in here.
      splits: split name -> records, in the order in which they are to be stored.
      class_embeddings: one row for each of `card.classes`.
      records_per_shard: how many records a file holds.
      extra_files: name -> content of files that belong to the data set too.

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
    unfinished = directory / _UNFINISHED
    with _explain_failure(directory):
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
    try:
        features = schema.record_features(card.embedding_size)
        shard_lengths = {
            split: _write_split(unfinished, card, split, features, records, records_per_shard)
            for split, records in splits.items()
        }
        with _explain_failure(directory):
            _write_tfds_metadata(unfinished, card, features, shard_lengths)
            if card.classes:
                np.save(unfinished / CLASS_EMBEDDINGS_FILE, class_embeddings.astype(np.float32))
            for name, content in (extra_files or {}).items():
                (unfinished / name).write_bytes(content)
            files = {path.name: path.stat().st_size for path in sorted(unfinished.iterdir())}
            sizes = {split: sum(lengths) for split, lengths in shard_lengths.items()}
            card = dataclasses.replace(card, splits=sizes, files=files)
            text = json.dumps(dataclasses.asdict(card), indent=1) + "\n"
            (unfinished / CARD_FILE).write_text(text)
            _replace_earlier(directory, unfinished, card)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return card


def _replace_earlier(directory: Path, unfinished: Path, card: schema.DatasetCard) -> None:
    """Moves the finished files to their place; without a card until all of them are there."""
    (directory / CARD_FILE).unlink(missing_ok=True)
    for pattern in (CLASS_EMBEDDINGS_FILE, f"{card.name}-*.array_record-*"):
        for path in directory.glob(pattern):
            path.unlink()
    for name in (*card.files, CARD_FILE):
        (unfinished / name).replace(directory / name)


def _write_split(
    directory: Path,
    card: schema.DatasetCard,
    split: str,
    features: tfds.features.FeaturesDict,
    records: Iterable[schema.Record],
    records_per_shard: int,
) -> list[int]:
    """Writes the shards of a split; returns the number of records in each."""
    serialized = (
        features.serialize_example(schema.encode_record(record, card.embedding_size))
        for record in records
    )
    written = _write_shards(directory, serialized, records_per_shard)
    for index, (temporary, _) in enumerate(written):
        # Only now is the number of shards known, which is a part of each one's name.
        name = f"{card.name}-{split}.array_record-{index:05d}-of-{len(written):05d}"
        temporary.rename(directory / name)
    return [count for _, count in written]


def _write_shards(
    directory: Path, serialized: Iterable[bytes], records_per_shard: int
) -> list[tuple[Path, int]]:
    """Fills temporary shards one after another; returns each with its number of records."""
    shards: list[tuple[Path, int]] = []
    rest = iter(serialized)
    for first in rest:
        path = directory / f"shard-{len(shards):05d}.tmp"
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
) -> None:
    """Writes what makes a folder of shards a TFDS data set."""
    template = tfds.core.ShardedFileTemplate(
        data_dir=directory, dataset_name=card.name, filetype_suffix="array_record"
    )

    def split_info(split: str, lengths: list[int]) -> tfds.core.SplitInfo:
        shards = directory.glob(f"{card.name}-{split}.array_record-*")
        return tfds.core.SplitInfo(
            name=split,
            shard_lengths=lengths,
            num_bytes=sum(path.stat().st_size for path in shards),
            filename_template=template,
        )

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
    info.set_splits(tfds.core.SplitDict([split_info(*item) for item in shard_lengths.items()]))
    info.write_to_directory(directory)
