"""Files that are whole or not there, and what to say when one can't be written."""

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mixcon3d_jax.errors import InputError


class WriteError(InputError):
    """A file can't be written: a full disk, no permission, a path that is no folder."""

    @classmethod
    def of(cls, path: Path, error: OSError) -> "WriteError":
        """Says what happened to `path` and what to do."""
        return cls(
            f"{path} can't be written ({error.strerror or error}).  Finished work is kept: make "
            "room or get permission there, and run the same command again to continue"
        )


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; renamed to `path` at the end.

    Raises:
      WriteError: when it can't be written; after any error nothing is left of the file.
    """
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


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file under a temporary name and renames it, so that it is never half there.

    Raises:
      WriteError: when it can't be written; nothing is left of the file.
    """
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


def npy_bytes(array: np.ndarray) -> bytes:
    """The content of the `.npy` file of an array."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
