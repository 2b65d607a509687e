"""Finds the shapes of Objaverse-LVIS in one archive, or one run of files, of Objaverse."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from data_prep.openshape.archive import ArchiveError
from data_prep.openshape.gpt4_flags import load_flags
from data_prep.openshape.member import Member
from data_prep.openshape.shape import read_shape
from data_prep.openshape.units import Unit
from mixcon3d_jax.data.schema import Record
from mixcon3d_jax.data.shards import WrittenShard, write_shard
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.files import write_whole


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The shapes to find.

    Attributes:
      class_names: id -> class.
      stems: the names, without extension, that files of these shapes may have -> id; none to open
        every file and ask its content.
      flags: where `store_flags` put the flags of their texts.
      embedding_size: D.
    """

    class_names: Mapping[str, str]
    stems: Mapping[str, str]
    flags: str
    embedding_size: int


@dataclasses.dataclass(frozen=True)
class Found:
    """What a unit had of the wanted shapes.

    Attributes:
      shard: the records.
      failures: id -> why its file can't be used.
      problem: why the archive can't be read to its end; "" if it can.
    """

    shard: WrittenShard
    failures: Mapping[str, str]
    problem: str


def extract(unit: Unit, wanted: Wanted, work: Path) -> Found:
    """Writes the wanted shapes of a unit into a shard in `work`, unless it is there already.

    Raises:
      WriteError: the disk is full or can't be written.
    """
    stored, key = work / f"{unit.name}.json", f"{unit.fingerprint} {bool(wanted.stems)}"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return _load(stored, key)
    search = _Search(unit, wanted)
    found = search.run(work / f"{unit.name}.shard")
    if not search.unread:  # else the next run may have more luck with the same files
        content = {"key": key, **dataclasses.asdict(found)}
        write_whole(stored, json.dumps(content, default=str).encode())
    return found


def _load(stored: Path, key: str) -> Found:
    """What an earlier run found in the same unit, for the same purpose."""
    content = json.loads(stored.read_text())
    if content.pop("key") != key:
        raise ValueError("of something else")
    fields = content.pop("shard")
    # The folder may have been moved since.
    path = stored.with_suffix(".shard")
    if path.stat().st_size != fields["num_bytes"]:
        raise ValueError("damaged")
    shard = WrittenShard(
        path,
        tuple(fields["ids"]),
        tuple(fields["class_names"]),
        fields["num_bytes"],
        fields["sha256"],
    )
    return Found(shard, **content)


class _Search:
    """A pass over a unit.

    Attributes:
      unread: whether something could not be read for a reason that may pass.
    """

    def __init__(self, unit: Unit, wanted: Wanted) -> None:
        self.unread = False
        self._unit, self._wanted = unit, wanted
        self._flags = load_flags(wanted.flags)
        self._failures: dict[str, str] = {}
        self._problem = ""

    def run(self, path: Path) -> Found:
        """Writes the shard; returns what there is to say."""
        shard = write_shard(path, self._records(), self._wanted.embedding_size)
        ids = set(shard.ids)
        failures = {key: why for key, why in self._failures.items() if key not in ids}
        return Found(shard, failures, self._problem)

    def _records(self) -> Iterator[Record]:
        stems = self._wanted.stems
        try:
            for member in self._unit.members():
                stem = PurePosixPath(member.name).stem
                if not stems or stem in stems:
                    yield from self._read(member, stems.get(stem))
        except ArchiveError as error:
            self._problem = str(error)
            self.unread |= isinstance(error.__cause__, OSError)

    def _read(self, member: Member, wanted_id: str | None) -> Iterator[Record]:
        """The record of a file, if it is a wanted one."""
        label = self._unit.label(member)
        try:
            if member.refused:
                raise InputError(f"{label}: is refused, because {member.refused}")
            content, size = member.read(), self._wanted.embedding_size
            record = read_shape(content, label, self._unit.dataset, size, self._flags)
        except ArchiveError:
            raise
        except (InputError, OSError) as error:
            self.unread |= isinstance(error, OSError)
            if wanted_id is not None:
                self._failures[wanted_id] = str(error)
            return
        class_name = self._wanted.class_names.get(record.id)
        if class_name is not None:
            yield dataclasses.replace(record, class_name=class_name)
