"""What was checked once and has not changed since, so that 205 GB are not hashed again."""

import json
import threading
from pathlib import Path

from data_prep.hub import RemoteFile
from mixcon3d_jax.files import write_whole

VERIFIED_FILE = ".verified.json"


class Verified:
    """The files of a folder whose content was checked, kept in a small JSON file in it.

    A file counts as checked while its size and its time of change are those of the check.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        try:
            stored = json.loads((folder / VERIFIED_FILE).read_text())
            self._files, self._unpacked = dict(stored["files"]), dict(stored["unpacked"])
        except (OSError, ValueError, KeyError, TypeError):
            # Missing or damaged: everything is checked again, which costs time and nothing else.
            self._files, self._unpacked = {}, {}

    def holds(self, remote: RemoteFile) -> bool:
        """Whether the folder has exactly this file, as an earlier check found."""
        path = self._folder / remote.path
        known = self._files.get(remote.path)
        return path.is_file() and known == self._state(path, remote.digest)

    def remember(self, remote: RemoteFile) -> None:
        """Notes that the folder's file was found to have the digest of `remote`."""
        state = self._state(self._folder / remote.path, remote.digest)
        with self._lock:
            self._files[remote.path] = state
            self._save()

    def unpacked(self, remote: RemoteFile) -> bool:
        """Whether this archive, in this version, was unpacked to its end."""
        return self._unpacked.get(remote.path) == remote.digest

    def remember_unpacked(self, remote: RemoteFile) -> None:
        """Notes that this archive was unpacked to its end."""
        with self._lock:
            self._unpacked[remote.path] = remote.digest
            self._save()

    def _save(self) -> None:
        content = {"files": self._files, "unpacked": self._unpacked}
        text = json.dumps(content, indent=1, sort_keys=True) + "\n"
        write_whole(self._folder / VERIFIED_FILE, text.encode())

    @staticmethod
    def _state(path: Path, digest: str) -> dict[str, int | str]:
        state = path.stat()
        return {"size": state.st_size, "time_changed_ns": state.st_mtime_ns, "digest": digest}
