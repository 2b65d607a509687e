"""Makes a data set of finished shards, once nothing is missing."""

import collections
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence

from etils import epath

from data_prep.openshape.convert import CountError
from data_prep.openshape.finished import Finished, FinishedShard, FinishedUnit
from data_prep.openshape.folders import FOLDERS
from data_prep.openshape.plan import Plan
from data_prep.openshape.storage import size_and_time
from data_prep.openshape.units import Unit
from mixcon3d_jax.data.schema import DatasetCard
from mixcon3d_jax.data.shards import WrittenShard
from mixcon3d_jax.data.writer import finish_dataset
from mixcon3d_jax.files import write_whole

SPLIT = "train"
# What the data set was made of; a later run compares it with the source.  It is no part of the data
# set, which is the same whenever and wherever it was made.
CONVERSION_FILE = "conversion.json"


@dataclasses.dataclass(frozen=True)
class DoneUnit:
    """A unit and what came of it.

    Attributes:
      unit: the archive or the run of files.
      done: what is known of it as a whole.
      shards: its shards.
      rewritten: index of a shard -> where it lies, for those that lost shapes to others of the same
        id.
    """

    unit: Unit
    done: FinishedUnit
    shards: tuple[FinishedShard, ...]
    rewritten: Mapping[int, epath.Path] = dataclasses.field(default_factory=dict)

    @property
    def records(self) -> int:
        """How many shapes were converted."""
        return sum(len(shard.ids) for shard in self.shards)

    @property
    def failures(self) -> int:
        """How many shapes were not."""
        return sum(len(shard.failures) for shard in self.shards)


def collect(plan: Plan) -> list[DoneUnit]:
    """What came of every unit of a data set.

    Raises:
      CountError: when something is not finished, or records and failures don't add up to the
        shapes.
    """
    return [_done(plan.finished, unit) for unit in plan.units]


def _done(finished: Finished, unit: Unit) -> DoneUnit:
    again = "; run the same command again, it continues with what is missing"
    done = finished.unit(unit)
    if done is None:
        raise CountError(f"{unit.name} of {unit.dataset} was not converted to its end{again}")
    shards = tuple(filter(None, (finished.shard(unit, index) for index in range(done.shards))))
    found = DoneUnit(unit, done, shards)
    if found.records + found.failures != done.shapes:
        raise CountError(
            f"{unit.name} of {unit.dataset}: {found.records} records and {found.failures} failures "
            f"don't add up to its {done.shapes} shapes{again}"
        )
    return found


def assemble(plan: Plan, done: Sequence[DoneUnit]) -> DatasetCard:
    """Writes the data set; its shards are moved to their place.

    Raises:
      WriteError: when it can't be written; what is finished stays.
    """
    shards = [
        WrittenShard(path, shard.ids, ("",) * len(shard.ids), shard.num_bytes, shard.sha256)
        for path, shard in _files(plan.finished, done)
    ]
    write_whole(plan.directory / CONVERSION_FILE, _conversion(plan, done))
    card = finish_dataset(
        plan.directory,
        DatasetCard(
            name=FOLDERS[plan.dataset],
            clip_id=plan.options.clip_id,
            embedding_size=plan.options.embedding_size,
            num_points=_most_common(done, "point_counts"),
            num_views=_most_common(done, "view_counts"),
        ),
        {SPLIT: shards},
    )
    expected = sum(found.done.shapes - found.failures for found in done)
    if card.splits[SPLIT] != expected:
        raise CountError(f"{plan.directory}: {card.splits[SPLIT]} records instead of {expected}")
    plan.finished.folder.rmtree()
    return card


def _files(
    finished: Finished, done: Sequence[DoneUnit]
) -> Iterator[tuple[epath.Path, FinishedShard]]:
    for found in done:
        for index, shard in enumerate(found.shards):
            path = found.rewritten.get(index) or finished.shard_path(found.unit, index)
            if not shard.ids:
                continue
            if size_and_time(path)[0] != shard.num_bytes:
                raise CountError(f"{path} has changed; run the same command again")
            yield path, shard


def _most_common(done: Sequence[DoneUnit], field: str) -> int:
    counts: collections.Counter[str] = collections.Counter()
    for found in done:
        for shard in found.shards:
            counts.update(getattr(shard, field))
    return int(counts.most_common(1)[0][0])


def _conversion(plan: Plan, done: Sequence[DoneUnit]) -> bytes:
    """What `earlier.Earlier` reads; ids stand in a file of their own."""
    units = []
    for found in done:
        shards = [dataclasses.asdict(shard) | {"ids": len(shard.ids)} for shard in found.shards]
        units.append({"name": found.unit.name, **dataclasses.asdict(found.done), "files": shards})
    options = plan.options
    content = {"clip_id": options.clip_id, "limit": options.limit, "units": units}
    return (json.dumps(content, indent=1) + "\n").encode()
