"""Writes a data set beside an earlier one, and takes its place when all of it is there."""

import collections
import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from etils import epath
from jaxtyping import Float

from mixcon3d_jax.data import schema
from mixcon3d_jax.data.shards import WrittenShard, explain_failure, write_shards
from mixcon3d_jax.files import npy_bytes

CARD_FILE = "card.json"
CLASS_EMBEDDINGS_FILE = "class_embeddings.npy"
CHECKSUMS_FILE = "SHA256SUMS"
# Where a data set lies until it is complete, inside its own folder.
UNFINISHED = ".unfinished"


def ids_file(split: str) -> str:
    """The file with the id of every record of a split, as a JSON list."""
    return f"{split}.ids.json"


def labels_file(split: str) -> str:
    """The file with the index into `card.classes` of every record of a split; -1 for none."""
    return f"{split}.labels.npy"


def shard_file(name: str, split: str, index: int, count: int) -> str:
    """TFDS' name for one of the `count` shards of a data set's split."""
    return f"{name}-{split}.array_record-{index:05d}-of-{count:05d}"


def is_shard(name: str) -> bool:
    """Whether a file of a data set is a shard of any of its splits."""
    return re.fullmatch(r".*\.array_record-\d+-of-\d+", name) is not None


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
      SchemaError: if a record breaks the contract, two have the same id, or the class embeddings
        don't fit the classes.
      WriteError: if the disk is full or can't be written.
    """
    _check_class_embeddings(card, class_embeddings)
    unfinished = directory / UNFINISHED
    with explain_failure(directory):
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
    try:
        shards = {
            split: write_shards(unfinished, split, records, card.embedding_size, records_per_shard)
            for split, records in splits.items()
        }
        return finish_dataset(directory, card, shards, class_embeddings, extra_files)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def finish_dataset(
    directory: Path | epath.Path,
    card: schema.DatasetCard,
    shards: Mapping[str, Sequence[WrittenShard]],
    class_embeddings: Float[np.ndarray, "classes D"] | None = None,
    extra_files: Mapping[str, bytes] | None = None,
) -> schema.DatasetCard:
    """Makes a data set of finished shards, as `write_dataset` does, the card last.

    The shards are moved; they lie anywhere on the file system of `directory`.  What belongs to
    them (`SHA256SUMS`, ids and labels of every record, TFDS' own files) is written here.

    Args:
      directory: of the data set; a bucket (`gs://`) is possible.
      card: its `splits` and `files` are filled in here.
      shards: split name -> its shards, in order.
      class_embeddings: one row for each of `card.classes`.
      extra_files: name -> content of files that belong to the data set too.

    Raises:
      SchemaError: if two records of a split have the same id, a record's class is not among the
        card's, or the class embeddings don't fit the classes.
      WriteError: if the disk is full or can't be written.
    """
    _check_class_embeddings(card, class_embeddings)
    directory = epath.Path(directory)
    described = directory / UNFINISHED / "described"
    with explain_failure(directory):
        described.rmtree(missing_ok=True)
        described.mkdir(parents=True)
        contents = dict(extra_files or {})
        for split, written in shards.items():
            contents |= _describe_records(card, split, written)
        if card.classes:
            contents[CLASS_EMBEDDINGS_FILE] = npy_bytes(class_embeddings.astype(np.float32))
        named = _final_names(card, shards)
        contents[CHECKSUMS_FILE] = _checksums(named, contents)
        for name, content in contents.items():
            (described / name).write_bytes(content)
        _write_tfds_metadata(described, card, shards)
        files = {path.name: path.stat().length for path in sorted(described.iterdir())}
        files |= {name: shard.num_bytes for name, shard in named.items()}
        sizes = {split: sum(len(s.ids) for s in written) for split, written in shards.items()}
        card = dataclasses.replace(card, splits=sizes, files=dict(sorted(files.items())))
        text = json.dumps(dataclasses.asdict(card), indent=1) + "\n"
        (described / CARD_FILE).write_text(text)
        moves = {name: shard.path for name, shard in named.items()}
        moves |= {name: described / name for name in (*contents, *files) if name not in moves}
        _replace_earlier(directory, card, moves, described / CARD_FILE)
        described.rmtree(missing_ok=True)  # in a bucket it was gone with its last file
        unfinished = described.parent
        if unfinished.is_dir() and not any(unfinished.iterdir()):  # else other work lies there
            unfinished.rmdir()
    return card


def _replace_earlier(
    directory: epath.Path,
    card: schema.DatasetCard,
    moves: Mapping[str, epath.Path],
    new_card: epath.Path,
) -> None:
    """Moves the finished files to their place; without a card until all of them are there."""
    (directory / CARD_FILE).unlink(missing_ok=True)
    stale = (CLASS_EMBEDDINGS_FILE, f"{card.name}-*.array_record-*", "*.ids.json", "*.labels.npy")
    for pattern in stale:
        for path in directory.glob(pattern):
            path.unlink()
    for name, path in moves.items():
        path.replace(directory / name)
    new_card.replace(directory / CARD_FILE)


def _final_names(
    card: schema.DatasetCard, shards: Mapping[str, Sequence[WrittenShard]]
) -> dict[str, WrittenShard]:
    """TFDS' name for every shard; it has the number of shards in it."""
    return {
        shard_file(card.name, split, index, len(written)): shard
        for split, written in shards.items()
        for index, shard in enumerate(written)
    }


def _checksums(shards: Mapping[str, WrittenShard], contents: Mapping[str, bytes]) -> bytes:
    """What `sha256sum --check` reads."""
    digests = {name: shard.sha256 for name, shard in shards.items()}
    digests |= {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    return "".join(f"{digest}  {name}\n" for name, digest in digests.items()).encode()


def _describe_records(
    card: schema.DatasetCard, split: str, shards: Sequence[WrittenShard]
) -> dict[str, bytes]:
    """The files with ids and labels, which answer without reading any record."""
    ids = [record_id for shard in shards for record_id in shard.ids]
    repeated = [record_id for record_id, n in collections.Counter(ids).items() if n > 1]
    if repeated:
        raise schema.SchemaError(
            f"data set {card.name!r}, split {split!r}: {len(repeated)} ids stand for more than one "
            f"record, the first is {repeated[0]!r}; give every record an id of its own"
        )
    described = {ids_file(split): json.dumps(ids).encode()}
    if card.classes:
        index_of = {name: index for index, name in enumerate(card.classes)} | {"": -1}
        labels = []
        for shard in shards:
            for record_id, class_name in zip(shard.ids, shard.class_names, strict=True):
                if class_name not in index_of:
                    raise schema.SchemaError(
                        f"record {record_id!r} of split {split!r} is of class {class_name!r}, "
                        f"which is not among the {len(card.classes)} classes of {card.name!r}"
                    )
                labels.append(index_of[class_name])
        described[labels_file(split)] = npy_bytes(np.array(labels, np.int32))
    return described


def _check_class_embeddings(
    card: schema.DatasetCard, class_embeddings: Float[np.ndarray, "classes D"] | None
) -> None:
    expected = (len(card.classes), card.embedding_size)
    if card.classes and (class_embeddings is None or class_embeddings.shape != expected):
        found = None if class_embeddings is None else class_embeddings.shape
        raise schema.SchemaError(
            f"data set {card.name!r}: class embeddings of shape {expected} expected, got {found}"
        )


def _write_tfds_metadata(
    directory: Path, card: schema.DatasetCard, shards: Mapping[str, Sequence[WrittenShard]]
) -> None:
    """Writes what makes a folder of shards a TFDS data set."""
    template = tfds.core.ShardedFileTemplate(
        data_dir=directory, dataset_name=card.name, filetype_suffix="array_record"
    )

    def split_info(split: str, written: Sequence[WrittenShard]) -> tfds.core.SplitInfo:
        return tfds.core.SplitInfo(
            name=split,
            shard_lengths=[len(shard.ids) for shard in written],
            num_bytes=sum(shard.num_bytes for shard in written),
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
        features=schema.record_features(card.embedding_size),
        description=f"{card.name}: shapes with the CLIP embeddings of {card.clip_id}",
    )
    info.set_file_format(tfds.core.FileFormat.ARRAY_RECORD)
    info.set_splits(tfds.core.SplitDict([split_info(*item) for item in shards.items()]))
    info.write_to_directory(directory)
