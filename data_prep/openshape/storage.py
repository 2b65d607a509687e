"""What the conversion asks about files on a disk or in a bucket (`gs://`)."""

import os
from collections.abc import Iterator

from etils import epath

from mixcon3d_jax.buckets import is_remote


def walk(folder: epath.Path) -> Iterator[str]:
    """Names of all files in a folder and those in it, relative to it, in no order."""
    # A folder of shapes may be a link to another disk.
    found = folder.walk() if is_remote(folder) else os.walk(folder, followlinks=True)
    top = _without_scheme(folder)
    for parent, _, files in found:
        inside = _without_scheme(parent).removeprefix(top).lstrip("/")
        yield from (f"{inside}/{name}" if inside else name for name in files)


def _without_scheme(path: os.PathLike[str] | str) -> str:
    """Buckets are walked through with and without it, depending on the library."""
    return os.fspath(path).rpartition("://")[2].strip("/")


def size_and_time(path: epath.Path) -> tuple[int, int]:
    """The size of a file in bytes, and when it was changed last."""
    if is_remote(path):
        status = path.stat()
        return status.length, status.mtime
    local = os.stat(path)
    return local.st_size, local.st_mtime_ns
