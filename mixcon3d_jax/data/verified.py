"""Which files of a folder were checked and have not changed since, so they aren't hashed again."""

import json
import threading
from pathlib import Path
from typing import Any

from mixcon3d_jax.files import write_whole

VERIFIED_FILE = ".verified.json"


class VerifiedFiles:
    """The files of a folder whose content was checked, kept in a small JSON file in it.

    A file counts as checked while its size and its time of change are those of the check.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        try:
            stored = json.loads((folder / VERIFIED_FILE).read_text())
            self._content: dict[str, dict[str, Any]] = {key: dict(stored[key]) for key in stored}
        except (OSError, ValueError, TypeError):
            # Missing or damaged: everything is checked again, which costs time and nothing else.
            self._content = {}

    def holds(self, name: str, digest: str) -> bool:
        """Whether the folder has exactly this file, as an earlier check found."""
        path = self._folder / name
        known = self._content.get("files", {}).get(name)
        return path.is_file() and known == _state(path, digest)

    def remember(self, name: str, digest: str) -> None:
        """Notes that the folder's file was found to have this digest."""
        self.note("files", name, _state(self._folder / name, digest))

    def noted(self, kind: str, name: str) -> Any:
        """What `note` was told."""
        return self._content.get(kind, {}).get(name)

    def note(self, kind: str, name: str, value: Any) -> None:
        """Keeps something else about a file.

        Raises:
          WriteError: if it can't be written.
        """
        with self._lock:
            self._content.setdefault(kind, {})[name] = value
            text = json.dumps(self._content, indent=1, sort_keys=True) + "\n"
            write_whole(self._folder / VERIFIED_FILE, text.encode())


def _state(path: Path, digest: str) -> dict[str, int | str]:
    state = path.stat()
    return {"size": state.st_size, "time_changed_ns": state.st_mtime_ns, "digest": digest}
