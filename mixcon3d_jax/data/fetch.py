"""Copies files from a bucket to a local folder, several at a time, and checks each."""

import contextlib
import dataclasses
import fcntl
import hashlib
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from mixcon3d_jax.buckets import AnyPath, filesystem, os_errors
from mixcon3d_jax.data.verified import VerifiedFiles
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.files import ReadError, WriteError
from mixcon3d_jax.progress import byte_progress

_THREADS = 8
_ATTEMPTS = 2
_LOCK_FILE = ".staging.lock"


class StagingError(InputError):
    """Data can't be copied from a bucket to this machine."""


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """A file to copy.

    Attributes:
      source: where it lies.
      name: where it belongs, relative to the local folder.
      size: bytes that it must have.
      sha256: that it must have; empty where nobody knows it: then it is copied every time.
    """

    source: AnyPath
    name: str
    size: int
    sha256: str = ""


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Keeps other processes of this machine from copying into `folder` at the same time.

    Raises:
      WriteError: if the folder can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK_FILE).open("w")
    except OSError as error:
        raise WriteError.of(folder, error) from error
    with lock:  # closing it, or the end of the process, lets go
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fetch_all(files: Sequence[RemoteFile], folder: Path, what: str) -> None:
    """Returns when all `files` are in `folder`, complete and checked.

    What an earlier call brought is not copied, and not even hashed, again.

    Args:
      files: to copy.
      folder: of this machine.
      what: a few words, shown before the bar.

    Raises:
      StagingError: if a file is missing or damaged, or the disk too small.
      ReadError: if the bucket can't be read.
      WriteError: if the folder can't be written.
    """
    verified = VerifiedFiles(folder)
    lacking = [file for file in files if not (file.sha256 and _holds(verified, file))]
    if not lacking:
        return
    _check_room(lacking, folder)
    bar, guard = byte_progress(sum(file.size for file in lacking), what), threading.Lock()
    executor = ThreadPoolExecutor(_THREADS)
    try:
        tasks = {executor.submit(_bring, file, folder, verified): file for file in lacking}
        for task in as_completed(tasks):
            task.result()
            with guard:
                bar.update(tasks[task].size)
    finally:
        executor.shutdown(cancel_futures=True)
        bar.close()


def _holds(verified: VerifiedFiles, file: RemoteFile) -> bool:
    return verified.holds(file.name, file.sha256)


def _check_room(files: Sequence[RemoteFile], folder: Path) -> None:
    # A file that is there already is at worst replaced.
    here = {file.name: folder / file.name for file in files}
    needed = sum(file.size for file in files)
    needed -= sum(path.stat().st_size for path in here.values() if path.is_file())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StagingError(
            f"{folder} has {free / 1e9:.2f} GB free, but {needed / 1e9:.2f} GB have to be copied "
            "there; choose a larger disk with config.data.stage_to, or raise config.data.parts, so "
            "that each host needs less"
        )


def _bring(file: RemoteFile, folder: Path, verified: VerifiedFiles) -> None:
    """Completes and checks one file."""
    path = folder / file.name
    partial = path.with_name(f"{path.name}.part")
    try:
        # Put there by something else, or changed since it was checked.
        if file.sha256 and path.is_file() and not _fault(path, file):
            verified.remember(file.name, file.sha256)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(_ATTEMPTS):
            _copy(file, partial)
            fault = _fault(partial, file)
            if not fault:
                partial.replace(path)
                if file.sha256:
                    verified.remember(file.name, file.sha256)
                return
    except OSError as error:
        raise WriteError.of(path, error) from error
    partial.unlink()
    raise StagingError(
        f"{file.source} {fault}, {_ATTEMPTS} times: it is damaged there; upload it again"
    )


def _copy(file: RemoteFile, partial: Path) -> None:
    # The folder is there: of the two ends only the bucket can refuse here, or the disk is full.
    try:
        with os_errors(file.source):
            filesystem().get_file(str(file.source), str(partial))
    except FileNotFoundError as error:
        raise StagingError(
            f"{file.source} is missing, though its data set names it; upload the data set again"
        ) from error
    except OSError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno:
            raise WriteError.of(partial, error.__cause__) from error
        raise ReadError.of(file.source, error) from error


def _fault(path: Path, file: RemoteFile) -> str:
    """What is wrong with a file; empty for nothing."""
    size = path.stat().st_size
    if size != file.size:
        return f"has {size} bytes instead of {file.size}"
    if not file.sha256:
        return ""
    with path.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    return "" if found == file.sha256 else f"has SHA-256 {found} instead of {file.sha256}"
