"""Files that are whole or not there, on a disk or in a bucket, and what is said otherwise."""

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mixcon3d_jax.buckets import AnyPath, filesystem, is_remote, os_errors
from mixcon3d_jax.errors import InputError


class WriteError(InputError):
    """A file can't be written: a full disk, no permission, a path that is no folder."""

    @classmethod
    def of(cls, path: AnyPath, error: OSError) -> "WriteError":
        """Says what happened to `path` and what to do."""
        return cls(
            f"{path} can't be written ({_reason(path, error)}).  Finished work is kept: make "
            "room or get permission there, and run the same command again to continue"
        )


class ReadError(InputError):
    """A file can't be read, and not because there is none."""

    @classmethod
    def of(cls, path: AnyPath, error: OSError) -> "ReadError":
        """Says what happened to `path` and what to do."""
        return cls(
            f"{path} can't be read ({_reason(path, error)}); check the path, and who may read there"
        )


@contextlib.contextmanager
def whole_file(path: AnyPath) -> Iterator[Path]:
    """A temporary local name to write to; what is there at the end becomes `path`.

    Raises:
      WriteError: when it can't be written; after any error nothing is left of the file.
    """
    if is_remote(path):
        with tempfile.TemporaryDirectory(prefix="mixcon3d-") as folder:
            local = Path(folder) / path.name
            yield local
            with _explained(path):  # an object is there when all of it has come
                filesystem().put_file(str(local), os.fspath(path))
        return
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise WriteError.of(path, error) from error
    finally:
        if temporary.parent.is_dir():
            temporary.unlink(missing_ok=True)


def write_whole(path: AnyPath, data: bytes) -> None:
    """Writes a file so that it is never half there.

    Raises:
      WriteError: when it can't be written; nothing is left of the file.
    """
    if is_remote(path):
        with _explained(path):
            filesystem().pipe_file(os.fspath(path), data)
        return
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


def check_writable(folder: Path) -> None:
    """Makes a folder and, for a moment, a file in it: hours of work must not end at the first one.

    Raises:
      WriteError: when that is refused; the message names the folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise WriteError.of(folder, error) from error


def read_whole(path: AnyPath) -> bytes | None:
    """The content of a file, or None where there is none.

    `exists` would do for a disk; in a bucket it costs another request, and a run that took "no
    permission" for "nothing there" would begin anew.

    Raises:
      ReadError: if it can't be read for any other reason.
    """
    try:
        with os_errors(path):
            if is_remote(path):
                return filesystem().cat_file(os.fspath(path))
            return Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ReadError.of(path, error) from error


def move_folder(path: AnyPath, target: AnyPath) -> None:
    """Moves a folder; in a bucket file by file.

    Raises:
      WriteError: if it can't be moved.
    """
    with _explained(target):
        if is_remote(path):
            source, end = os.fspath(path), os.fspath(target)
            filesystem().mv(f"{source}/", f"{end}/", recursive=True)
        else:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            Path(path).rename(target)


@contextlib.contextmanager
def local_copy(path: AnyPath) -> Iterator[Path]:
    """A local file to read what is at `path`: that file itself, or a copy for as long as needed.

    Raises:
      ReadError: if it can't be read.
    """
    if not is_remote(path):
        yield Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="mixcon3d-") as folder:
        local = Path(folder) / path.name
        try:
            with os_errors(path):
                filesystem().get_file(os.fspath(path), str(local))
        except OSError as error:
            raise ReadError.of(path, error) from error
        yield local


def npy_bytes(array: np.ndarray) -> bytes:
    """The content of the `.npy` file of an array."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz_bytes(**arrays: np.ndarray) -> bytes:
    """The content of the `.npz` file of named arrays."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@contextlib.contextmanager
def _explained(path: AnyPath) -> Iterator[None]:
    try:
        with os_errors(path):
            yield
    except OSError as error:
        raise WriteError.of(path, error) from error


def _reason(path: AnyPath, error: OSError) -> str:
    if is_remote(path) and isinstance(error, FileNotFoundError):
        # An object can be written anywhere in a bucket that is there.
        return f"there is no such bucket or object: {path}"
    return str(error.strerror or error)
