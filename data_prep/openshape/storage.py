"""Files on a local disk or in a bucket (`gs://`), as the conversion needs them."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from etils import epath

from mixcon3d_jax.files import WriteError, whole_file


def is_remote(path: epath.Path) -> bool:
    """Whether a path is no local one."""
    return "://" in os.fspath(path)


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


@contextlib.contextmanager
def local_file(path: epath.Path) -> Iterator[Path]:
    """A local name to write to; the file then gets to `path` whole.

    Raises:
      WriteError: when it can't be written; nothing is left of the file then.
    """
    if not is_remote(path):
        with whole_file(Path(path)) as temporary:
            yield temporary
        return
    with tempfile.TemporaryDirectory(prefix="mixcon3d-") as folder:
        local = Path(folder) / path.name
        yield local
        uploaded = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
        with explain_failure(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            epath.Path(local).copy(uploaded)
            uploaded.replace(path)


@contextlib.contextmanager
def local_copy(path: epath.Path) -> Iterator[Path]:
    """A local file to read what is at `path`: that file itself, or a copy for as long as needed."""
    if not is_remote(path):
        yield Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="mixcon3d-") as folder:
        local = Path(folder) / path.name
        path.copy(local)
        yield local


def write(path: epath.Path, content: bytes) -> None:
    """Writes a file that is whole or not there.

    Raises:
      WriteError: when it can't be written.
    """
    with local_file(path) as local, explain_failure(path):
        local.write_bytes(content)


@contextlib.contextmanager
def explain_failure(path: epath.Path) -> Iterator[None]:
    """Names the path that can't be written."""
    try:
        yield
    except OSError as error:
        raise WriteError.of(Path(os.fspath(path)), error) from error
