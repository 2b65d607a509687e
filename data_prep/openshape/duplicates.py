"""Shapes with the same id: the first stays, the others are failures."""

import collections
import dataclasses
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any

from array_record.python.array_record_module import ArrayRecordReader
from etils import epath

from data_prep.openshape.assemble import DoneUnit
from data_prep.openshape.finished import Failure, FinishedShard
from data_prep.openshape.plan import Plan
from data_prep.openshape.storage import is_remote, local_file
from data_prep.openshape.units import Unit
from mixcon3d_jax.data.schema import parse_example
from mixcon3d_jax.data.shards import write_examples


def without_duplicates(plan: Plan, done: Sequence[DoneUnit]) -> list[DoneUnit]:
    """The units with one shape for each id; shards that lose some are written anew, elsewhere.

    What is finished stays as it is: a later run may find the other shape gone.
    """
    firsts: dict[str, Unit] = {}
    return [_first_ones(plan, found, firsts) for found in done]


def _first_ones(plan: Plan, found: DoneUnit, firsts: dict[str, Unit]) -> DoneUnit:
    shards, paths = [], dict(found.rewritten)
    for index, shard in enumerate(found.shards):
        repeated = {}
        for position, record_id in enumerate(shard.ids):
            if record_id in firsts:
                repeated[position] = _failure(found.unit, record_id, firsts[record_id])
            else:
                firsts[record_id] = found.unit
        if repeated:
            path = plan.finished.shard_path(found.unit, index)
            paths[index] = path.with_suffix(".unique")
            size = plan.options.embedding_size
            written = _rewrite(path, paths[index], shard, repeated.keys(), size)
            shard = dataclasses.replace(written, failures=(*shard.failures, *repeated.values()))
        shards.append(shard)
    return dataclasses.replace(found, shards=tuple(shards), rewritten=paths)


def _failure(unit: Unit, record_id: str, first: Unit) -> Failure:
    place = unit.where(record_id)
    reason = (
        f"{place}: holds shape {record_id!r}, which is also in {first.where(record_id)}; the first "
        "one is kept: remove what lies there twice"
    )
    return Failure(place, None, reason, duplicate=True)


def _rewrite(
    path: epath.Path,
    target: epath.Path,
    shard: FinishedShard,
    dropped: Set[int],
    embedding_size: int,
) -> FinishedShard:
    """A shard without some of its records."""
    points = collections.Counter(shard.point_counts)
    views = collections.Counter(shard.view_counts)
    with local_file(target) as local:
        if is_remote(path):
            readable = local.with_name("whole")
            path.copy(readable)
        else:
            readable = Path(path)

        def examples() -> Iterator[tuple[str, str, bytes]]:
            for index, example in enumerate(_examples(readable)):
                if index in dropped:
                    fields = parse_example(example, embedding_size)
                    _count_down(points, len(fields["points"]))
                    _count_down(views, len(fields["view_embeddings"]))
                else:
                    yield shard.ids[index], "", example

        written = write_examples(local, examples())
    return dataclasses.replace(
        shard,
        ids=written.ids,
        num_bytes=written.num_bytes,
        sha256=written.sha256,
        point_counts=dict(points),
        view_counts=dict(views),
    )


def _examples(path: Path) -> Iterator[Any]:
    reader = ArrayRecordReader(str(path))
    try:
        for index in range(reader.num_records()):
            yield reader.read([index])[0]
    finally:
        reader.close()


def _count_down(counts: collections.Counter[str], value: int) -> None:
    counts[str(value)] -= 1
    if not counts[str(value)]:
        del counts[str(value)]
