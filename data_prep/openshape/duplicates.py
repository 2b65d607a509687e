"""Shapes with the same id: those of other groups get the group into it; else the first stays."""

import collections
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from array_record.python.array_record_module import ArrayRecordReader
from etils import epath

from data_prep.openshape.assemble import DoneUnit
from data_prep.openshape.finished import Failure, FinishedShard
from data_prep.openshape.plan import Plan
from data_prep.openshape.units import Unit
from mixcon3d_jax.data.schema import parse_example, renamed_example
from mixcon3d_jax.data.shards import write_examples
from mixcon3d_jax.files import local_copy, whole_file

# Position of a record in its shard -> the id that it gets; None if it is left out.
Changes = Mapping[int, str | None]


def without_duplicates(plan: Plan, done: Sequence[DoneUnit]) -> list[DoneUnit]:
    """The units with one shape for each id; shards that change are written anew, elsewhere.

    A shape with the id of an earlier one of another group is stored as `GROUP/ID`; one of the same
    group is a failure.  What is finished stays as it is: a later run may find the other shape gone.
    """
    known: dict[str, Unit] = {}
    groups: dict[str, set[str]] = collections.defaultdict(set)
    repeated = {
        record_id
        for record_id, times in collections.Counter(
            record_id for found in done for shard in found.shards for record_id in shard.ids
        ).items()
        if times > 1
    }
    return [_told_apart(plan, found, repeated, known, groups) for found in done]


def _told_apart(
    plan: Plan,
    found: DoneUnit,
    repeated: set[str],
    known: dict[str, Unit],
    groups: dict[str, set[str]],
) -> DoneUnit:
    """One unit; `known` has the unit of every id so far, `groups` the groups of repeated ones."""
    shards, paths = [], dict(found.rewritten)
    for index, shard in enumerate(found.shards):
        changes: dict[int, str | None] = {}
        failures = []
        for position, record_id in enumerate(shard.ids):
            if record_id not in repeated:
                continue
            group = _group(plan, found.unit, index, position)
            if record_id not in known:
                known[record_id] = found.unit
            elif group and group not in groups[record_id]:
                changes[position] = f"{group}/{record_id}"
            else:
                changes[position] = None
                failures.append(_failure(found.unit, record_id, known[record_id]))
            groups[record_id].add(group)
        if changes:
            path = plan.finished.shard_path(found.unit, index)
            paths[index] = path.with_suffix(".unique")
            written = _rewrite(path, paths[index], shard, changes, plan.options.embedding_size)
            shard = dataclasses.replace(written, failures=(*shard.failures, *failures))
        shards.append(shard)
    return dataclasses.replace(found, shards=tuple(shards), rewritten=paths)


def _group(plan: Plan, unit: Unit, shard: int, position: int) -> str:
    with local_copy(plan.finished.shard_path(unit, shard)) as readable:
        example = next(_examples(readable, [position]))
    return parse_example(example, plan.options.embedding_size)["group"].decode()


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
    changes: Changes,
    embedding_size: int,
) -> FinishedShard:
    """A shard with some of its records left out or under other ids."""
    points = collections.Counter(shard.point_counts)
    views = collections.Counter(shard.view_counts)
    with local_copy(path) as readable, whole_file(target) as local:

        def examples() -> Iterator[tuple[str, str, bytes]]:
            for index, example in enumerate(_examples(readable, range(len(shard.ids)))):
                new_id = changes.get(index, shard.ids[index])
                if new_id is None:
                    fields = parse_example(example, embedding_size)
                    _count_down(points, len(fields["points"]))
                    _count_down(views, len(fields["view_embeddings"]))
                    continue
                if index in changes:
                    example = renamed_example(example, new_id, "")
                yield new_id, "", example

        written = write_examples(local, examples())
    return dataclasses.replace(
        shard,
        ids=written.ids,
        num_bytes=written.num_bytes,
        sha256=written.sha256,
        point_counts=dict(points),
        view_counts=dict(views),
    )


def _examples(path: Path, positions: Sequence[int]) -> Iterator[Any]:
    reader = ArrayRecordReader(str(path))
    try:
        for index in positions:
            yield reader.read([index])[0]
    finally:
        reader.close()


def _count_down(counts: collections.Counter[str], value: int) -> None:
    counts[str(value)] -= 1
    if not counts[str(value)]:
        del counts[str(value)]
