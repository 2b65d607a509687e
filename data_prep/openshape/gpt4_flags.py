"""Which raw texts of Objaverse were judged fit, from `meta_data/gpt4_filtering.json`."""

import functools
import hashlib
import io
import json

import numpy as np
from etils import epath

from mixcon3d_jax.errors import InputError
from mixcon3d_jax.files import write_whole

META_DATA_FILE = "meta_data/gpt4_filtering.json"
_FLAGS = ("Y", "N")


class Gpt4Flags:
    """The flag of an id; small enough for every process to have its own."""

    def __init__(self, flag_of: dict[str, str]):
        """Takes id -> "Y" or "N"."""
        ids = sorted(record_id.encode() for record_id in flag_of)
        self._ids = np.array(ids, np.bytes_) if ids else np.zeros(0, "S1")
        self._flags = np.array([flag_of[record_id.decode()] for record_id in ids], "U1")

    def __call__(self, record_id: str) -> str:
        """ "Y", "N", or "" for an id without a flag."""
        wanted = record_id.encode()
        index = int(np.searchsorted(self._ids, wanted))
        found = index < len(self._ids) and self._ids[index] == wanted
        return str(self._flags[index]) if found else ""

    def to_bytes(self) -> bytes:
        """What `from_bytes` reads."""
        buffer = io.BytesIO()
        np.savez(buffer, ids=self._ids, flags=self._flags)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Gpt4Flags":
        """What `to_bytes` gave."""
        flags = cls({})
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            flags._ids, flags._flags = arrays["ids"], arrays["flags"]
        return flags


def read_flags(content: bytes, name: str) -> Gpt4Flags:
    """Reads the JSON file of the meta data: an object, id -> {"flag": "Y" or "N", ...}.

    Raises:
      InputError: if it is something else; the message says what, and where.
    """
    try:
        entries = json.loads(content)
    except ValueError as error:
        raise InputError(f"{name} is no JSON ({error}); get the meta data again") from error
    if not isinstance(entries, dict):
        raise InputError(f"{name} holds no object of ids and flags; get the meta data again")
    flag_of = {}
    for record_id, entry in entries.items():
        flag = entry.get("flag") if isinstance(entry, dict) else None
        if flag not in _FLAGS:
            raise InputError(
                f"{name}: the entry of {record_id!r} has no flag that is one of "
                f"{', '.join(_FLAGS)}; get the meta data again"
            )
        flag_of[record_id] = flag
    return Gpt4Flags(flag_of)


def flags_path(source: epath.Path, folder: epath.Path) -> epath.Path:
    """Where in `folder` the flags of the meta data in `source` go; changes with their content.

    Raises:
      InputError: if the meta data are missing.
    """
    path = source / META_DATA_FILE
    if not path.exists():
        raise InputError(
            f"{path} is missing, which says which texts of Objaverse are fit; get it with `python "
            "-m data_prep.download --only=meta_data`, which unpacks meta_data.zip"
        )
    return folder / f"gpt4_flags-{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}.npz"


def store_flags(source: epath.Path, stored: epath.Path) -> None:
    """Puts the flags of the meta data in `source` at the path that `flags_path` gave.

    Raises:
      InputError: if the meta data are damaged.
      WriteError: if it can't be written.
    """
    if not stored.exists():
        path = source / META_DATA_FILE
        write_whole(stored, read_flags(path.read_bytes(), str(path)).to_bytes())


@functools.cache
def load_flags(path: str) -> Gpt4Flags:
    """The flags that `store_flags` put at `path`; none for ""."""
    return Gpt4Flags.from_bytes(epath.Path(path).read_bytes()) if path else Gpt4Flags({})
