"""Converts one unit: its shapes become shards, one finished after another."""

import collections
import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

from array_record.python.array_record_module import ArrayRecordReader
from etils import epath

from data_prep.openshape.archive import ArchiveError
from data_prep.openshape.finished import Failure, Finished, FinishedShard, FinishedUnit
from data_prep.openshape.gpt4_flags import load_flags
from data_prep.openshape.member import Member
from data_prep.openshape.shape import ShapeError, read_shape
from data_prep.openshape.units import Unit
from mixcon3d_jax.data.schema import Record
from mixcon3d_jax.data.shards import WrittenShard, write_shard
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.files import whole_file


class CountError(InputError):
    """Shapes and records don't add up: some were lost, or counted twice."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A unit to convert; small enough to be sent to another process or machine.

    Attributes:
      unit: what is converted.
      folder: where finished shards go.
      shard_size: shapes a shard is made of.
      embedding_size: D.
      flags: the file with the gpt4 flags; "" for none.
    """

    unit: Unit
    folder: str
    shard_size: int
    embedding_size: int
    flags: str

    def is_finished(self) -> bool:
        """Whether all that could be done is done."""
        return Finished(epath.Path(self.folder)).unit(self.unit) is not None

    def has_work(self) -> bool:
        """Whether something is to do, or worth another try."""
        finished = Finished(epath.Path(self.folder))
        unit = finished.unit(self.unit)
        if unit is None or unit.retry:
            return True
        return any(finished.shard(self.unit, index).retry for index in range(unit.shards))


def convert(job: Job, advance: Callable[[int], None] = lambda _: None) -> None:
    """Converts what is not finished of a unit.

    A shape that can't be converted is put down as a failure, and so is the point where an archive
    breaks off; everything else is converted all the same.

    Args:
      job: the unit, and what to make of it.
      advance: is told, after every shape, how many bytes of the source were gone through.

    Raises:
      WriteError: when a shard can't be written.
      CountError: when a written shard lacks records.
    """
    finished = Finished(epath.Path(job.folder))
    with contextlib.closing(job.unit.members()) as members:
        shapes = _Shapes(members, job.unit, advance)
        for index in itertools.count():
            shard = finished.shard(job.unit, index)
            if shard is not None and _is_settled(shard, shapes.count, job.shard_size):
                shapes.pass_over(shard)
            elif shapes.ended:
                break
            else:
                _convert_shard(job, shapes, finished, index)
    # The end was met in an empty shard if the last one was full.
    shards = -(-shapes.count // job.shard_size)
    done = FinishedUnit(job.unit.fingerprint, shards, shapes.count, shapes.broken)
    finished.add_unit(job.unit, done)
    # The end of an archive, or all that comes after a break.
    advance(max(job.unit.num_bytes - shapes.passed, 0))


def _is_settled(shard: FinishedShard, first: int, shard_size: int) -> bool:
    """Whether a shard stays as it is.

    A shorter one does not: it was the last, and where it ends may have been the point where the
    archive broke off.
    """
    return (shard.first, shard.last) == (first, first + shard_size) and not shard.retry


class _Shapes:
    """The members of a unit, in order, up to its limit or the point where it breaks off.

    Attributes:
      count: how many were met so far.
      passed: bytes of the source that were gone through.
      ended: whether the last one was met.
      broken: what is wrong with an archive that breaks off.
    """

    def __init__(self, members: Iterator[Member], unit: Unit, advance: Callable[[int], None]):
        self.count = 0
        self.passed = 0
        self.ended = False
        self.broken: Failure | None = None
        self._members = itertools.islice(members, unit.limit)
        self._unit, self._advance = unit, advance

    def take(self, count: int) -> Iterator[Member]:
        """The next `count` members, or as many as there are."""
        for _ in range(count):
            try:
                member = next(self._members)
            except StopIteration:
                self.ended = True
            except ArchiveError as error:
                self.break_off(error)
            if self.ended:
                return
            self.count += 1
            yield member
            self.passed += member.source_bytes
            self._advance(member.source_bytes)
            if self.ended:
                return

    def pass_over(self, shard: FinishedShard) -> None:
        """Goes on behind a finished shard.

        It holds what it holds, also if the archive, this time, breaks off before its end.
        """
        for _ in self.take(shard.last - self.count):
            pass
        self.count = shard.last

    def break_off(self, error: ArchiveError) -> None:
        """Nothing more can be read."""
        self.ended = True
        self.broken = Failure.of(self._unit.path, None, error)

    def drop_last(self) -> None:
        """The member taken last was only the beginning of one."""
        self.count -= 1


def _convert_shard(job: Job, shapes: _Shapes, finished: Finished, index: int) -> None:
    content = _ShardContent(job, shapes)
    first = shapes.count
    path = finished.shard_path(job.unit, index)
    with whole_file(path) as local:
        written = write_shard(local, content.records(), job.embedding_size)
        _check_count(local, written, shapes.count - first - len(content.failures))
    if shapes.count == first:
        path.unlink()
        return
    if not written.ids:
        path.unlink()
    shard = FinishedShard(
        fingerprint=job.unit.fingerprint,
        first=first,
        last=shapes.count,
        ids=written.ids,
        num_bytes=written.num_bytes,
        sha256=written.sha256,
        point_counts=dict(content.point_counts),
        view_counts=dict(content.view_counts),
        failures=tuple(content.failures),
    )
    finished.add_shard(job.unit, index, shard)


class _ShardContent:
    """The records of one shard, and what is known about them once they were gone through."""

    def __init__(self, job: Job, shapes: _Shapes):
        self.failures: list[Failure] = []
        self.point_counts: collections.Counter[str] = collections.Counter()
        self.view_counts: collections.Counter[str] = collections.Counter()
        self._job, self._shapes = job, shapes

    def records(self) -> Iterator[Record]:
        """One for every shape that can be converted."""
        for member in self._shapes.take(self._job.shard_size):
            try:
                record = self._read(member)
            except ArchiveError as error:
                self._shapes.drop_last()
                self._shapes.break_off(error)
                return
            except InputError as error:
                label = self._job.unit.label(member)
                self.failures.append(Failure.of(label, member.position, error))
                continue
            self.point_counts[str(len(record.points))] += 1
            self.view_counts[str(len(record.view_embeddings))] += 1
            yield record

    def _read(self, member: Member) -> Record:
        job, label = self._job, self._job.unit.label(member)
        if member.refused:
            raise ShapeError(f"{label}: is refused, because {member.refused}")
        try:
            content = member.read()
        except OSError as error:
            raise ShapeError(f"{label}: can't be read ({error})") from error
        flags = load_flags(job.flags)
        return read_shape(content, label, job.unit.dataset, job.embedding_size, flags)


def _check_count(path: Path, written: WrittenShard, expected: int) -> None:
    reader = ArrayRecordReader(str(path))
    found = reader.num_records()
    reader.close()
    if not found == len(written.ids) == expected:
        raise CountError(
            f"{path} holds {found} records, while {len(written.ids)} were written of {expected} "
            "shapes; is the disk in order?  Run the same command again"
        )
