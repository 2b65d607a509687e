"""Reading what an earlier run stored, and asking early whether a folder can be written."""

import tempfile
import zipfile
from pathlib import Path

from mixcon3d_jax.files import WriteError

# What np.load raises for a file that is missing, empty, truncated or something else.
DAMAGED = (OSError, ValueError, EOFError, zipfile.BadZipFile)


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
