"""Files that are whole or not there, and what to say when the disk is full."""

import errno
import os
import shutil
import zipfile
from pathlib import Path

from mixcon3d_jax.errors import InputError

# EFBIG: a limit on file sizes (`ulimit -f`, some network disks) instead of a full disk.
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# What np.load raises for a file that is missing, empty, truncated or something else.
DAMAGED = (OSError, ValueError, EOFError, zipfile.BadZipFile)


class DiskFullError(InputError):
    """There is no room for a file."""


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file under a temporary name and renames it, so that it is never half there.

    Raises:
      DiskFullError: when there is no room; nothing is left of the file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise DiskFullError(
            f"{path}: the disk is full ({len(data) / 1e6:.3f} MB for it; {_free(path):.3f} MB "
            "free). Finished work is kept: make room and run the same command again, it continues "
            "from there"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _free(path: Path) -> float:
    """Megabytes free where `path` would lie."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free / 1e6
