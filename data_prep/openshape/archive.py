"""Reads the files of a `.tar.gz` archive in one pass, without unpacking it to the disk."""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import BinaryIO

from data_prep.openshape.gunzip import BrokenArchiveError, GunzipStream
from data_prep.openshape.member import MAX_BYTES, Member, is_shape_file
from mixcon3d_jax.errors import InputError

_BUFFER = 1 << 16
# What `tarfile` raises for damaged content.
_DAMAGED = (BrokenArchiveError, tarfile.TarError, ValueError, OverflowError, EOFError)


class ArchiveError(InputError):
    """An archive can't be read from some point on; the message names it and the position."""


# Headers that say the name of the next member, and are read into memory whole.
_NAME_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_MAX_NAME_BYTES = 2**20


class _StrictTarInfo(tarfile.TarInfo):
    """A header that is missing or damaged is an error; `tarfile` takes it for the end.

    So is a name that does not fit the memory.
    """

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> tarfile.TarInfo:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            raise BrokenArchiveError(f"is damaged or ends too early ({error})") from error

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _NAME_HEADERS and self.size > _MAX_NAME_BYTES:
            raise BrokenArchiveError(f"has a name of {self.size} bytes")
        return super()._proc_member(archive)


def read_members(file: BinaryIO, name: str) -> Iterator[Member]:
    """Yields the shapes' files of an archive, and what is refused, in their order.

    Refused are links, devices, and names that lead out of the archive; folders and other files than
    `.npy` are passed over.  A member can be read until the next one is asked for.

    Args:
      file: the archive, open at its start.
      name: how messages call it.

    Raises:
      ArchiveError: where the archive is broken, by this iterator or by a member's `read`.  Every
        file that lies wholly before that point can be read.
    """
    return _ArchiveReader(file, name).members()


class _ArchiveReader:
    def __init__(self, file: BinaryIO, name: str):
        self._file, self._name = file, name
        self._stream: GunzipStream | None = None
        self._last = ""

    def members(self) -> Iterator[Member]:
        packed = 0
        with self._name_damage():
            stream = self._stream = GunzipStream(self._file)
            # Nothing needs closing but `file`, which is the caller's.
            archive = tarfile.open(  # noqa: SIM115
                fileobj=stream, mode="r|", bufsize=_BUFFER, tarinfo=_StrictTarInfo
            )
        while (entry := self._next(archive)) is not None:
            refused = _refused(entry)
            if refused or (entry.isreg() and is_shape_file(entry.name)):
                # What was read since the member before this one was found, its content included.
                since, packed = stream.packed - packed, stream.packed
                yield Member(
                    name=entry.name,
                    position=entry.offset,
                    refused=refused,
                    read=lambda entry=entry: self._read(archive, entry),
                    source_bytes=since,
                )
        with self._name_damage():
            while stream.read(_BUFFER):
                pass  # up to the checksum

    def _next(self, archive: tarfile.TarFile) -> tarfile.TarInfo | None:
        with self._name_damage():
            entry = archive.next()
        archive.members.clear()  # it would remember every one
        if entry is not None:
            self._last = entry.name
        return entry

    def _read(self, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
        with self._name_damage(), archive.extractfile(entry) as content:
            return content.read()

    @contextmanager
    def _name_damage(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ArchiveError(
                f"{self._name}: can't be read ({error}){self._position()}; run the same command "
                "again"
            ) from error
        except _DAMAGED as error:
            problem = str(error) or type(error).__name__
            if not isinstance(error, BrokenArchiveError):
                problem = f"is damaged ({problem})"
            raise ArchiveError(
                f"{self._name}: {problem}{self._position()}; download it again and run the same "
                "command again"
            ) from error

    def _position(self) -> str:
        if self._stream is None:
            return ""
        last = f", after {self._last!r} began" if self._last else ""
        return (
            f" at byte {self._stream.packed} (byte {self._stream.unpacked} of its content{last}).  "
            "The shapes before that are kept"
        )


def _refused(entry: tarfile.TarInfo) -> str:
    """Why a member is refused; "" if it is not."""
    path = PurePosixPath(entry.name)
    if path.is_absolute() or ".." in path.parts:
        return "its name leads out of the archive"
    if entry.issym() or entry.islnk():
        return f"it is a link (to {entry.linkname!r})"
    if not entry.isreg() and not entry.isdir():
        return "it is neither a file nor a folder"
    if entry.isreg() and entry.size > MAX_BYTES:
        return f"it has {entry.size} bytes, while a shape's file has some 200,000"
    return ""
