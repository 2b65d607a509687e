"""What is converted at a stretch: an archive, or a run of unpacked files."""

import contextlib
import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence

from etils import epath

from data_prep.openshape.archive import ArchiveError, read_members
from data_prep.openshape.member import MAX_BYTES, Member, is_shape_file
from data_prep.openshape.storage import size_and_time, walk

_ARCHIVE = ".tar.gz"


@dataclasses.dataclass(frozen=True)
class Unit:
    """An archive, or a run of unpacked files; worked through from start to end by one process.

    Attributes:
      name: its own among the units of a data set, and fit for a file name.
      dataset: that its shapes belong to, as the original's files call it.
      source: the folder of all data; messages name files relative to it.
      path: of the archive, or of the folder that `files` lie in, relative to `source`.
      files: relative to `path`; None for an archive.
      limit: how many of an archive's shapes are taken; None for all.
      num_bytes: of the archive or of the files.
      fingerprint: changes when the archive, a file, or what is made of them changes.
    """

    name: str
    dataset: str
    source: str
    path: str
    files: tuple[str, ...] | None
    limit: int | None
    num_bytes: int
    fingerprint: str

    def made_with(self, facts: str) -> "Unit":
        """The same, with a fingerprint that changes with `facts`, too."""
        return dataclasses.replace(self, fingerprint=_fingerprint([self.fingerprint, facts]))

    def label(self, member: Member) -> str:
        """How messages call a member."""
        return f"{self.path}{'/' if self.files is not None else ':'}{member.name}"

    def where(self, record_id: str) -> str:
        """Where a shape lies, for messages; as closely as is known."""
        if not self.files:  # also a run of files that were deleted
            return self.path
        named = [name for name in self.files if record_id in name]
        return f"{self.path}/{named[0] if named else f'{self.files[0]} or one of the next files'}"

    def members(self) -> Iterator[Member]:
        """The files of its shapes, in order.

        Raises:
          ArchiveError: by the iterator, at the point where an archive is broken.
        """
        path = epath.Path(self.source) / self.path
        if self.files is not None:
            yield from (_file_member(path, name) for name in self.files)
            return
        try:
            file = path.open("rb")
        except OSError as error:
            raise ArchiveError(f"{self.path} can't be opened ({error})") from error
        with file:
            yield from read_members(file, self.path)


def _file_member(folder: epath.Path, name: str) -> Member:
    path = folder / name
    size, _ = _facts(path)
    refused = f"it has {size} bytes, while a shape's file has some 200,000"
    return Member(name, None, refused if size > MAX_BYTES else "", path.read_bytes, size)


def _facts(path: epath.Path) -> tuple[int, int]:
    """Size and time of a file; zeros if they can't be told: reading it says what is wrong."""
    try:
        return size_and_time(path)
    except OSError:
        return 0, 0


@dataclasses.dataclass(frozen=True)
class FoundUnits:
    """The units of a data set, in order, and words about what was left out."""

    units: list[Unit]
    notes: list[str]


def find_units(
    source: epath.Path, dataset: str, shard_size: int, made_with: str, limit: int | None = None
) -> FoundUnits:
    """Looks for a data set's archives (`DATASET.tar.gz`, `DATASET/*.tar.gz`) and unpacked files.

    Archives come first, in the order of their names, then runs of `shard_size` unpacked files in
    the order of theirs.  What was unpacked beside its archive is left out.

    Args:
      source: the folder of all data.
      dataset: as the original's files call it.
      shard_size: files of a run.
      made_with: what else the result depends on; a part of the fingerprints.
      limit: how many shapes are taken in all.
    """
    whole = f"{dataset}{_ARCHIVE}"
    archives = [whole] if (source / whole).exists() else []
    files = []
    if (source / dataset).is_dir():
        for name in walk(source / dataset):
            if name.endswith(_ARCHIVE):
                archives.append(f"{dataset}/{name}")
            elif is_shape_file(name):
                files.append(f"{dataset}/{name}")
    archives.sort()
    unpacked = tuple(archive.removesuffix(_ARCHIVE) + "/" for archive in archives)
    kept = sorted(name for name in files if not name.startswith(unpacked))
    notes = []
    if len(kept) < len(files):
        notes.append(
            f"{len(files) - len(kept)} unpacked files of {dataset} are left out, because the "
            "archives that they come from lie beside them"
        )
    units = [_archive_unit(source, dataset, name, made_with) for name in archives]
    for start in range(0, len(kept), shard_size):
        units.append(
            _files_unit(source, dataset, kept[start : start + shard_size], start, made_with)
        )
    return FoundUnits(units if limit is None else list(_limited(units, limit)), notes)


def _archive_unit(source: epath.Path, dataset: str, name: str, made_with: str) -> Unit:
    size, time = _facts(source / name)
    return Unit(
        name=name.replace("/", "__"),
        dataset=dataset,
        source=str(source),
        path=name,
        files=None,
        limit=None,
        num_bytes=size,
        fingerprint=_fingerprint([made_with, name, size, time]),
    )


def _files_unit(
    source: epath.Path, dataset: str, names: Sequence[str], start: int, made_with: str
) -> Unit:
    facts = [(name, *_facts(source / name)) for name in names]
    return Unit(
        name=f"files-{start:07d}",
        dataset=dataset,
        source=str(source),
        path=dataset,
        files=tuple(name.removeprefix(f"{dataset}/") for name in names),
        limit=None,
        num_bytes=sum(size for _, size, _ in facts),
        fingerprint=_fingerprint([made_with, facts]),
    )


def _limited(units: Sequence[Unit], limit: int) -> Iterator[Unit]:
    """The units that hold the first `limit` shapes, the last one cut."""
    left = limit
    for unit in units:
        if not left:
            return
        count = _count(unit, left)
        if count > left:
            yield _cut(unit, left)
            return
        yield unit
        left -= count


def _count(unit: Unit, enough: int) -> int:
    """How many shapes a unit holds; at most one more than `enough` are counted."""
    count = 0
    with contextlib.suppress(ArchiveError):  # conversion reports it
        for _ in itertools.islice(unit.members(), enough + 1):
            count += 1
    return count


def _cut(unit: Unit, limit: int) -> Unit:
    fingerprint = _fingerprint([unit.fingerprint, limit])
    if unit.files is None:
        return dataclasses.replace(unit, limit=limit, fingerprint=fingerprint)
    return dataclasses.replace(unit, files=unit.files[:limit], fingerprint=fingerprint)


def _fingerprint(facts: Sequence) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
