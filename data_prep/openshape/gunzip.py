"""Unpacks gzip while it is read, and gives every byte that comes before a break."""

import zlib
from typing import Any, BinaryIO

_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 16
_GZIP = 16 + zlib.MAX_WBITS


class BrokenArchiveError(Exception):
    """What is wrong with an archive from here on."""


class GunzipStream:
    """The content of a gzip file, in one pass.

    Python's `gzip` and `tarfile` lose what was unpacked since the last whole buffer when a file
    ends too early, or take the break for the end.

    Attributes:
      packed: bytes of the file that were read.
      unpacked: bytes that were handed out.
    """

    def __init__(self, file: BinaryIO):
        """Takes a file that is open at its start."""
        self.packed = self.unpacked = 0
        self._file = file
        self._waiting = file.read(_CHUNK)
        self.packed += len(self._waiting)
        if not self._waiting:
            raise BrokenArchiveError("is empty")
        if not self._waiting.startswith(_MAGIC):
            raise BrokenArchiveError(f"is not gzip: it begins with {self._waiting[:12]!r}")
        self._decompressor = zlib.decompressobj(_GZIP)
        self._damage = ""

    def read(self, size: int) -> bytes:
        """At most `size` bytes; fewer, but at least one, where that is what there is.

        Returns:
          The bytes; none at the end.

        Raises:
          BrokenArchiveError: when all that comes before a break was handed out.
        """
        while True:
            if self._decompressor.eof and not self._begin_next():
                return b""
            ended = not self._damage and not self._waiting and not self._fill()
            content = self._unpack(size)
            if content:
                self.unpacked += len(content)
                return content
            if self._damage:
                raise BrokenArchiveError(self._damage)
            if ended and not self._decompressor.eof:
                raise BrokenArchiveError("ends too early")

    def _unpack(self, size: int) -> bytes:
        if self._damage:
            return b""
        before = self._decompressor.copy()
        try:
            content = self._decompressor.decompress(self._waiting, size)
        except zlib.error as error:
            self._damage = f"is damaged ({error})"
            return _unpack_to_damage(before, self._waiting, size)
        self._waiting = self._decompressor.unconsumed_tail or self._decompressor.unused_data
        return content

    def _fill(self) -> bool:
        """Reads on in the file; False at its end."""
        self._waiting = self._file.read(_CHUNK)
        self.packed += len(self._waiting)
        return bool(self._waiting)

    def _begin_next(self) -> bool:
        """Goes on to the next part of a gzip file of several; False at the end of the last."""
        while len(self._waiting) < len(_MAGIC):
            more = self._file.read(_CHUNK)
            if not more:
                return False
            self.packed += len(more)
            self._waiting += more
        if not self._waiting.startswith(_MAGIC):
            return False  # padding
        self._decompressor = zlib.decompressobj(_GZIP)
        return True


def _unpack_to_damage(decompressor: Any, data: bytes, size: int) -> bytes:
    """What comes before the damage in `data`; zlib drops what it had unpacked when it meets it."""
    content = b""
    for index in range(len(data)):
        try:
            content += decompressor.decompress(data[index : index + 1], size)
        except zlib.error:
            break
    return content
