"""Paths in buckets (`gs://`) beside local ones, and one kind of error for what can happen there."""

import contextlib
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
from etils import epath

from mixcon3d_jax.errors import InputError

# A local path, or one in a bucket.
AnyPath = Path | epath.Path

_SCHEME = "gs://"
# etils would read buckets through TensorFlow wherever that happens to be installed.
os.environ.setdefault("EPATH_USE_TF", "false")
# gcsfs would remember listings for ever.
fsspec.config.conf.setdefault("gcs", {})["use_listings_cache"] = False


class BucketError(InputError):
    """A path in a bucket can't be used at all."""


def is_remote(path: os.PathLike[str] | str) -> bool:
    """Whether a path is no local one."""
    return "://" in os.fspath(path)


def as_path(path: os.PathLike[str] | str) -> AnyPath:
    """A local path, or one in a bucket; a path is left as it is.

    Raises:
      BucketError: if it is of another kind (`s3://`), or what buckets need is not installed.
    """
    text = os.fspath(path)
    if text.startswith("gs:/") and not text.startswith(_SCHEME):
        raise BucketError(f"{text} has one slash too few; write gs://BUCKET/PATH")
    if not is_remote(text):
        return Path(text)
    if not text.startswith(_SCHEME) or not text.removeprefix(_SCHEME).strip("/"):
        raise BucketError(f"{text} is neither a local path nor gs://BUCKET/PATH")
    _check_installed()
    return epath.Path(text)


def absolute(path: os.PathLike[str] | str) -> AnyPath:
    """The path without dependence on the current folder, which a path in a bucket never has."""
    found = as_path(path)
    return found if is_remote(found) else found.absolute()


def filesystem() -> Any:
    """gcsfs' file system, for what a path can't do."""
    _check_installed()
    return fsspec.filesystem("gcs")


@contextlib.contextmanager
def os_errors(path: AnyPath) -> Iterator[None]:
    """Makes an `OSError` of whatever the clients of buckets raise.

    Raises:
      FileNotFoundError, FileExistsError: as they came, of local files too.
      OSError: with a reason in one line.
    """
    try:
        yield
    except Exception as error:
        if not is_remote(path) or isinstance(
            error, FileNotFoundError | FileExistsError | InputError
        ):
            raise
        raise OSError(_reason(error)) from error


def _reason(error: Exception) -> str:
    """gcsfs raises OSError for 403, errors of its own for the rest, with addresses in them."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and lines[0].startswith("Forbidden"):
        return f"permission denied: {lines[-1]}"
    return f"{type(error).__name__}: {' '.join(lines)}" if lines else type(error).__name__


@functools.cache
def _check_installed() -> None:
    """Raises a `BucketError` without gcsfs."""
    try:
        import gcsfs  # noqa: F401
    except ImportError as error:
        raise BucketError(
            f"gs:// needs the package gcsfs ({error}); install it with pip install "
            "'mixcon3d-jax[gcs]', or use a local path"
        ) from error
