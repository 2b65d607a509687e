"""Brings many files of a hub repository into a folder, several at a time, and checks each."""

import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tqdm import tqdm

from data_prep.hub import FileError, RemoteFile, digest_of, fetch
from data_prep.verified import Verified
from mixcon3d_jax.files import WriteError
from mixcon3d_jax.progress import byte_progress

_ATTEMPTS = 2


def bytes_here(remote: RemoteFile, output: Path) -> int:
    """How much of a file lies in `output`, complete or not, checked or not."""
    path = output / remote.path
    for found in (path, _partial(path)):
        if found.is_file():
            return min(found.stat().st_size, remote.size)
    return 0


def fetch_all(
    remotes: Sequence[RemoteFile], output: Path, verified: Verified, workers: int
) -> dict[str, str]:
    """Completes and checks every file in `output`.

    Returns:
      path -> reason of each file that can't be had; the others are complete and checked.

    Raises:
      InputError: nothing more can be had (hub, disk).  What came is kept.
    """
    failures = {}
    transfer = _Transfer(remotes, output, verified)
    executor = ThreadPoolExecutor(workers)
    try:
        tasks = {executor.submit(transfer.complete, remote): remote for remote in remotes}
        for task in as_completed(tasks):
            try:
                task.result()
            except FileError as error:
                failures[tasks[task].path] = str(error)
            transfer.show_count(len(remotes))
    finally:
        transfer.stop.set()
        executor.shutdown(cancel_futures=True)
        transfer.bar.close()
    return failures


class _Transfer:
    """What the threads of one download share."""

    def __init__(self, remotes: Sequence[RemoteFile], output: Path, verified: Verified) -> None:
        self.stop = threading.Event()
        total = sum(remote.size for remote in remotes)
        here = sum(bytes_here(remote, output) for remote in remotes)
        self.bar: tqdm = byte_progress(total, "downloading", here)
        self._finished = 0
        self._output, self._verified = output, verified
        self._lock = threading.Lock()

    def complete(self, remote: RemoteFile) -> None:
        """Brings what lacks of a file, checks all of it, and gives it its name.

        Raises:
          FileError: its content is wrong every time.
        """
        path = self._output / remote.path
        partial = _partial(path)
        try:
            if path.is_file():  # put there by something else, or changed since it was checked
                path.replace(partial)
            for _ in range(_ATTEMPTS):
                self._drop_if_longer(partial, remote.size)
                fetch(remote, partial, self._count, self.stop)
                found = digest_of(partial, remote.digest)
                if found == remote.digest:
                    partial.replace(path)
                    self._verified.remember(remote)
                    return
                partial.unlink()
                self._count(-remote.size)
                wrong = f"{remote.path}: its content has {found}, the hub says {remote.digest}"
                self.bar.write(f"{wrong}; it was deleted", file=sys.stderr)
        except OSError as error:
            raise WriteError.of(path, error) from error
        raise FileError(f"{wrong}, {_ATTEMPTS} times; try again later or another connection")

    def show_count(self, total: int) -> None:
        """One more file is done, for better or worse."""
        with self._lock:
            self._finished += 1
            self.bar.set_postfix_str(f"{self._finished}/{total} files")

    def _count(self, change: int) -> None:
        with self._lock:
            self.bar.update(change)

    def _drop_if_longer(self, partial: Path, size: int) -> None:
        if partial.is_file() and partial.stat().st_size > size:
            partial.unlink()
            self._count(-size)


def _partial(path: Path) -> Path:
    """Where a file grows until it is complete and checked."""
    return path.with_name(f"{path.name}.part")
