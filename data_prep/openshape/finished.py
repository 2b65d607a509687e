"""What a conversion has finished so far: shards, and beside each what is known about it.

Everything lies in one folder, `UNIT.00003.shard` with `UNIT.00003.json` for every shard of a unit
and `UNIT.json` when all of a unit is done.  The JSON files are written last, so one that is there
speaks of a whole shard; if its fingerprint is another, it speaks of an earlier state of the source.
"""

import dataclasses
import json
from typing import Any

from etils import epath

from data_prep.openshape.storage import size_and_time
from data_prep.openshape.units import Unit
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.files import write_whole


@dataclasses.dataclass(frozen=True)
class Failure:
    """A shape that was not converted, or an archive that breaks off.

    Attributes:
      file: which; a member as `ARCHIVE:MEMBER`.
      position: of a member's header, in bytes of the unpacked archive; None for others.
      reason: a sentence for the user.
      retry: whether the next run may have more luck, though the file is the same (it could not be
        read).
      duplicate: whether an earlier shape has the same id.
    """

    file: str
    position: int | None
    reason: str
    retry: bool = False
    duplicate: bool = False

    @classmethod
    def of(cls, file: str, position: int | None, error: InputError) -> "Failure":
        """What an error says of a file."""
        return cls(file, position, str(error), retry=isinstance(error.__cause__, OSError))


@dataclasses.dataclass(frozen=True)
class FinishedShard:
    """A shard, made of the shapes `first` up to (without) `last` of a unit.

    Attributes:
      fingerprint: of the unit.
      first: index of a shape in the unit.
      last: likewise.
      ids: of its records, in order; if there are none, there is no file either.
      num_bytes: size of the file.
      sha256: of the file.
      point_counts: how many records have how many points.
      view_counts: how many records have how many views.
      failures: the other shapes.
    """

    fingerprint: str
    first: int
    last: int
    ids: tuple[str, ...]
    num_bytes: int
    sha256: str
    point_counts: dict[str, int]
    view_counts: dict[str, int]
    failures: tuple[Failure, ...]

    @property
    def retry(self) -> bool:
        """Whether a new run may have more luck."""
        return any(failure.retry for failure in self.failures)

    @property
    def duplicates(self) -> bool:
        """Whether shapes were left out because of shapes elsewhere."""
        return any(failure.duplicate for failure in self.failures)


@dataclasses.dataclass(frozen=True)
class FinishedUnit:
    """A unit of which everything is done that can be.

    Attributes:
      fingerprint: of the unit.
      shards: how many it has.
      shapes: how many it holds, those that failed included.
      broken: the point from which on an archive can't be read, if there is one.
    """

    fingerprint: str
    shards: int
    shapes: int
    broken: Failure | None

    @property
    def retry(self) -> bool:
        """Whether a new run may get further in an archive."""
        return self.broken is not None and self.broken.retry


class Finished:
    """The folder of what is finished."""

    def __init__(self, folder: epath.Path):
        """Takes a folder that may not exist yet."""
        self.folder = folder

    def shard_path(self, unit: Unit, index: int) -> epath.Path:
        """Where a unit's shard lies."""
        return self.folder / f"{unit.name}.{index:05d}.shard"

    def shard(self, unit: Unit, index: int) -> FinishedShard | None:
        """What is known about a shard; None unless it is finished and still what it would be."""
        found = self._read(f"{unit.name}.{index:05d}.json", FinishedShard)
        if found is None or found.fingerprint != unit.fingerprint:
            return None
        path = self.shard_path(unit, index)
        whole = not found.ids or (path.exists() and size_and_time(path)[0] == found.num_bytes)
        return found if whole else None

    def unit(self, unit: Unit) -> FinishedUnit | None:
        """What is known about a unit; None unless it is finished and unchanged.

        That is, all of its shards are, and they join up to its shapes.
        """
        found = self._read(f"{unit.name}.json", FinishedUnit)
        if found is None or found.fingerprint != unit.fingerprint:
            return None
        end = 0
        for index in range(found.shards):
            shard = self.shard(unit, index)
            if shard is None or shard.first != end:
                return None
            end = shard.last
        return found if end == found.shapes else None

    def add_shard(self, unit: Unit, index: int, shard: FinishedShard) -> None:
        """Remembers a shard whose file is in its place."""
        self._write(f"{unit.name}.{index:05d}.json", shard)

    def add_unit(self, unit: Unit, done: FinishedUnit) -> None:
        """Remembers a unit whose shards are remembered."""
        self._write(f"{unit.name}.json", done)

    def _read(self, name: str, kind: type) -> Any:
        try:
            fields = json.loads((self.folder / name).read_text())
            return from_json(kind, fields)
        except (FileNotFoundError, ValueError, TypeError):  # none, or not written by this program
            return None

    def _write(self, name: str, content: Any) -> None:
        write_whole(self.folder / name, json.dumps(dataclasses.asdict(content)).encode())


def from_json(kind: type, fields: dict[str, Any]) -> Any:
    """A `FinishedShard` or `FinishedUnit` from its fields as JSON has them."""
    if kind is FinishedShard:
        fields["ids"] = tuple(fields["ids"])
        fields["failures"] = tuple(Failure(**failure) for failure in fields["failures"])
    elif fields["broken"] is not None:
        fields["broken"] = Failure(**fields["broken"])
    return kind(**fields)
