"""Reads the original's files that describe benchmarks, and says which of them is wrong where."""

import collections
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from data_prep.openshape.pickles import load_npy
from mixcon3d_jax.errors import InputError

# The key of a class embedding in the original's files, which hold others beside it.
_CLASS_EMBEDDING = "open_clip_text_feat"


class BenchmarkError(InputError):
    """A file of a benchmark is missing, damaged, or does not fit the others."""


def read_split(path: Path, keys: Sequence[str]) -> list[dict[str, str]]:
    """A split file: a JSON list of objects.

    Args:
      path: of the file.
      keys: what every object must have, as a string that is not empty.

    Raises:
      BenchmarkError: it is missing or damaged, or an entry lacks a key; the message says which.
    """
    check_exists(path)
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"{path} can't be read as JSON ({error}); get it again") from error
    if not isinstance(entries, list) or not entries:
        raise BenchmarkError(f"{path} is no JSON list of shapes; get it again")
    for index, entry in enumerate(entries):
        for key in keys:
            value = entry.get(key) if isinstance(entry, dict) else None
            if not isinstance(value, str) or not value:
                raise BenchmarkError(f"{path}: entry {index} has no {key!r}; get the file again")
    return entries


def read_npy(path: Path) -> Any:
    """What an `.npy` file holds; nothing in it is run.

    Raises:
      InputError: it is missing, damaged, or holds more than arrays and plain values.
    """
    check_exists(path)
    try:
        with path.open("rb") as file:
            return load_npy(file, str(path))
    except OSError as error:
        raise BenchmarkError(f"{path} can't be read ({error})") from error


def embeddings_by_class(path: Path) -> dict[str, Float32[np.ndarray, "D"]]:
    """The class embeddings of a file that names them, in the file's order.

    Raises:
      BenchmarkError: the file holds something else.
    """
    content = read_npy(path)
    if not isinstance(content, dict) or not content:
        raise BenchmarkError(f"{path} is no dict of class embeddings; get it again")
    rows = {}
    for name, value in content.items():
        kept = value.get(_CLASS_EMBEDDING) if isinstance(value, Mapping) else None
        row = np.asarray([] if kept is None else kept)
        if not isinstance(name, str) or row.dtype.kind != "f" or not row.size:
            raise BenchmarkError(f"{path}: class {name!r} has no {_CLASS_EMBEDDING!r} of numbers")
        rows[name] = row.reshape(-1).astype(np.float32)
    if len({len(row) for row in rows.values()}) > 1:
        raise BenchmarkError(f"{path}: its class embeddings have different sizes; get it again")
    return rows


def check_exists(path: Path) -> None:
    """Raises a `BenchmarkError` that says how to get a file that is missing."""
    if not path.is_file():
        raise BenchmarkError(
            f"{path} is missing; `python -m data_prep.download --only=meta_data` brings it"
        )


def unique_ids(names: Iterable[str]) -> list[str]:
    """An id for every item: its name; if that has come before, `NAME#2`, `NAME#3`, ..."""
    times: collections.Counter[str] = collections.Counter()
    ids = []
    for name in names:
        times[name] += 1
        ids.append(name if times[name] == 1 else f"{name}#{times[name]}")
    return ids
