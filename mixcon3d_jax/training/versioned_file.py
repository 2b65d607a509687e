"""A small file that several processes change, each only what it has seen."""

import os
from pathlib import Path

import tensorstore as ts

from mixcon3d_jax.buckets import AnyPath, absolute, is_remote
from mixcon3d_jax.files import WriteError

_PATIENCE = {"max_retries": 6, "initial_delay": "500ms", "max_delay": "5s"}


class VersionedFile:
    """A file whose changes fail if somebody else changed it first.

    On a disk TensorStore holds the operating system's lock on a neighbour of the file while it
    compares and renames; in a bucket the precondition goes with the request.

    Args:
      path: of the file; its folder is made when it is written.
    """

    def __init__(self, path: AnyPath):
        self._path = absolute(path)
        self._store = ts.KvStore.open(_spec(self._path.parent)).result()

    def read(self) -> tuple[bytes | None, bytes]:
        """The content, None if there is no such file, and the version of that.

        Raises:
          WriteError: if that can't be found out.
        """
        try:
            found = self._store.read(self._path.name).result()
        except ValueError as error:
            raise self._refused(error) from error
        return (found.value if found.state == "value" else None), found.stamp.generation

    def write(self, content: bytes | None, seen: bytes) -> bytes | None:
        """Replaces what has the version `seen`; without content the file is removed.

        Returns:
          The new version, or None if the file has another version than `seen`.

        Raises:
          WriteError: if it can't be written.
        """
        try:
            stamp = self._store.write(self._path.name, content, if_equal=seen).result()
        except ValueError as error:
            raise self._refused(error) from error
        return stamp.generation or None

    def _refused(self, error: ValueError) -> WriteError:
        reason = str(error).partition(" [")[0]
        return WriteError.of(self._path, OSError(reason))


def _spec(folder: AnyPath) -> dict[str, object]:
    if not is_remote(folder):
        return {"driver": "file", "path": f"{Path(folder)}/"}
    bucket, _, inside = os.fspath(folder).removeprefix("gs://").partition("/")
    return {
        "driver": "gcs",
        "bucket": bucket,
        "path": f"{inside}/" if inside else "",
        "context": {"gcs_request_retries": _PATIENCE},
    }
