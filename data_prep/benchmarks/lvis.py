"""Objaverse-LVIS: the shapes of `lvis.json`, found in Objaverse's archives or folders."""

import hashlib
import itertools
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource
from jaxtyping import Float32

from data_prep.benchmarks.class_rows import ClassRows
from data_prep.benchmarks.failures import Failures
from data_prep.benchmarks.files import BenchmarkError, read_npy, read_split, unique_ids
from data_prep.benchmarks.lvis_search import DATASET, find_objaverse, search, sort_out
from data_prep.benchmarks.lvis_units import Found
from data_prep.openshape.units import Unit
from mixcon3d_jax.data.schema import DatasetCard, SchemaError, parse_example, renamed_example
from mixcon3d_jax.data.shards import WrittenShard, write_examples
from mixcon3d_jax.data.source import read_card
from mixcon3d_jax.data.writer import finish_dataset
from mixcon3d_jax.progress import progress

NAME = "objaverse_lvis"
PREPARATION_FILE = "preparation.json"
_RECORDS_PER_SHARD = 1024


def prepare_lvis(
    source: Path, folder: Path, rows: ClassRows, failures: Failures, workers: int
) -> int:
    """Makes the data set, in the order of `lvis.json`; returns the number of its records.

    Every archive or folder is gone through once; what was found in it is kept in `folder`/work
    until all shapes are there, so that an interrupted run, or one that lacked some, is continued.

    Args:
      source: the folder of the download.
      folder: of the data set.
      rows: where its class embeddings come from.
      failures: gets the shapes that are missing or bad.
      workers: processes.

    Raises:
      InputError: the split or the class embeddings can't be used, no shape is there, or the disk
        is full.
    """
    split_file = source / "meta_data" / "split" / "lvis.json"
    entries = _read_lvis_split(split_file)
    classes = tuple(sorted({entry["category"] for entry in entries}))
    original = _original_embeddings(source / "meta_data" / "lvis_cat_name_pt_feat.npy", classes)
    class_embeddings, clip_id = rows.choose(classes, original, views=True)
    size, work = original.shape[1], folder / "work"
    units = find_objaverse(source, entries, size)
    made_of = _fingerprint(units, class_embeddings, clip_id)
    if _is_made_of(folder, made_of):
        print(f"nothing to do: {folder} holds the data set of these files", flush=True)
        shutil.rmtree(work, ignore_errors=True)
        return len(entries)
    found = search(source, units, entries, size, work, workers)
    order = sort_out(entries, found, failures)
    if not order:
        failures.report(folder / "report.json", len(entries), 0)
        raise BenchmarkError(f"{NAME}: no shape is in {source / DATASET}; no data set was written")
    shards = list(_in_order(order, found, work))
    card = _card(shards[0], size, clip_id, classes)
    extra = {} if failures.reasons else {PREPARATION_FILE: made_of}
    card = finish_dataset(folder, card, {"test": shards}, class_embeddings, extra)
    failures.report(folder / "report.json", len(entries), card.splits["test"])
    if not failures.reasons:
        shutil.rmtree(work)
    return card.splits["test"]


def _read_lvis_split(path: Path) -> list[dict[str, str]]:
    entries = read_split(path, ("uid", "category"))
    for entry in entries:
        if entry.get("dataset", DATASET) != DATASET:
            raise BenchmarkError(
                f"{path}: shape {entry['uid']!r} is of data set {entry['dataset']!r}; all are of "
                f"{DATASET}"
            )
    return entries


def _original_embeddings(path: Path, classes: Sequence[str]) -> Float32[np.ndarray, "classes D"]:
    rows = read_npy(path)
    if not isinstance(rows, np.ndarray) or rows.dtype.kind != "f" or rows.ndim != 2:
        raise BenchmarkError(f"{path} is no array of numbers with a row a class; get it again")
    if len(rows) != len(classes):
        raise BenchmarkError(
            f"{path} has embeddings of {len(rows)} classes, but lvis.json has {len(classes)} "
            "categories; get both again"
        )
    return rows.astype(np.float32)


def _in_order(
    order: Sequence[tuple[str, str]], found: Mapping[Unit, Found], work: Path
) -> Iterator[WrittenShard]:
    """Copies the records into shards in the order of `order`.

    A shape that the split names more than once is a record each time: `ID`, `ID#2`, ...
    """
    filled = [part.shard for part in found.values() if part.shard.ids]
    records = ArrayRecordDataSource([str(shard.path) for shard in filled])
    position: dict[str, int] = {}
    ids = (record_id for shard in filled for record_id in shard.ids)
    for index, record_id in enumerate(ids):
        position.setdefault(record_id, index)
    names = unique_ids(uid for uid, _ in order)
    entries = ((uid, name, category) for (uid, category), name in zip(order, names, strict=True))
    rest = progress(entries, len(order), f"writing {NAME}")
    for index in range(-(-len(order) // _RECORDS_PER_SHARD)):
        block = itertools.islice(rest, _RECORDS_PER_SHARD)
        examples = (
            (name, category, renamed_example(records[position[uid]], name, category))
            for uid, name, category in block
        )
        yield write_examples(work / f"test-{index:05d}.shard", examples)


def _card(
    shard: WrittenShard, embedding_size: int, clip_id: str, classes: tuple[str, ...]
) -> DatasetCard:
    first = parse_example(ArrayRecordDataSource([str(shard.path)])[0], embedding_size)
    return DatasetCard(
        name=NAME,
        clip_id=clip_id,
        embedding_size=embedding_size,
        num_points=len(first["points"]),
        num_views=len(first["view_embeddings"]),
        classes=classes,
    )


def _fingerprint(
    units: Sequence[Unit], class_embeddings: Float32[np.ndarray, "classes D"], clip_id: str
) -> bytes:
    """What a complete data set is made of, as the content of a file in it."""
    total = hashlib.sha256(f"{clip_id}\n".encode())
    total.update(np.ascontiguousarray(class_embeddings).tobytes())
    for unit in units:
        total.update(unit.fingerprint.encode())
    return (json.dumps({"fingerprint": total.hexdigest()}) + "\n").encode()


def _is_made_of(folder: Path, made_of: bytes) -> bool:
    """Whether `folder` holds a complete data set of exactly this."""
    try:
        sizes = read_card(folder).files
        whole = all((folder / name).stat().st_size == size for name, size in sizes.items())
        return whole and (folder / PREPARATION_FILE).read_bytes() == made_of
    except (SchemaError, OSError):
        return False
