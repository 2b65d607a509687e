"""What of a download was checked and unpacked and has not changed since: 205 GB are hashed once."""

from pathlib import Path

from data_prep.hub import RemoteFile
from mixcon3d_jax.data.verified import VERIFIED_FILE, VerifiedFiles

__all__ = ["VERIFIED_FILE", "Verified"]


class Verified:
    """The files of a folder that were found to be those of the hub."""

    def __init__(self, folder: Path) -> None:
        self._files = VerifiedFiles(folder)

    def holds(self, remote: RemoteFile) -> bool:
        """Whether the folder has exactly this file, as an earlier check found."""
        return self._files.holds(remote.path, remote.digest)

    def remember(self, remote: RemoteFile) -> None:
        """Notes that the folder's file was found to have the digest of `remote`."""
        self._files.remember(remote.path, remote.digest)

    def unpacked(self, remote: RemoteFile) -> bool:
        """Whether this archive, in this version, was unpacked to its end."""
        return self._files.noted("unpacked", remote.path) == remote.digest

    def remember_unpacked(self, remote: RemoteFile) -> None:
        """Notes that this archive was unpacked to its end."""
        self._files.note("unpacked", remote.path, remote.digest)
