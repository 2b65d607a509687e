"""Manifests: the list of a folder's assets."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixcon3d_jax.errors import InputError


class ManifestError(InputError):
    """A manifest cannot be used.  The message names the entry and the key."""


@dataclass(frozen=True)
class Entry:
    """One asset of a manifest.

    Attributes:
      id: unique in the manifest.
      path: the asset's file.
      class_name: what it is.
      text: its title or description.
      captions: more descriptions.
      split: the split that it goes to.
    """

    id: str
    path: Path
    class_name: str
    text: str
    captions: tuple[str, ...] = ()
    split: str = "train"


def read_manifest(path: Path) -> list[Entry]:
    """Reads a manifest: a JSON list of objects.

    Each has `path` (relative to the manifest's folder), `class` and `text`, and may have
    `captions` (a list of texts), `split` (default "train") and `id` (default: the path).  Other
    keys are ignored.  Whether the assets exist is not looked at.

    Raises:
      ManifestError: when it is missing, no JSON list, empty, or an entry is wrong.
    """
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ManifestError(
            f"{path}: the manifest cannot be read ({error.strerror}); correct --manifest"
        ) from error
    except ValueError as error:
        raise ManifestError(f"{path}: not JSON ({error}); correct it there") from error
    if not isinstance(entries, list):
        raise ManifestError(f"{path}: expected a JSON list of objects, one for each asset")
    if not entries:
        raise ManifestError(f"{path}: the list is empty; add an entry for each asset")
    read = [_entry(path, number, entry) for number, entry in enumerate(entries)]
    first: dict[str, int] = {}
    for number, entry in enumerate(read):
        if entry.id in first:
            raise ManifestError(
                f"{path}: entries {first[entry.id]} and {number} have the same id '{entry.id}'; "
                "give each an 'id' of its own"
            )
        first[entry.id] = number
    return read


def _entry(manifest: Path, number: int, entry: Any) -> Entry:
    where = f"{manifest}: entry {number} (counted from 0)"
    if not isinstance(entry, dict):
        raise ManifestError(
            f"{where} is no object; write {{'path': ..., 'class': ..., 'text': ...}}"
        )
    path = _text(where, entry, "path")
    folder = manifest.resolve().parent
    if Path(path).is_absolute() or not (folder / path).resolve().is_relative_to(folder):
        raise ManifestError(
            f"{where}: path '{path}' leads out of the manifest's folder; move the asset into it"
        )
    captions = entry.get("captions", [])
    if not isinstance(captions, list) or not all(isinstance(text, str) for text in captions):
        raise ManifestError(f"{where}: 'captions' must be a list of texts, not {captions!r}")
    split = _text(where, entry, "split", default="train")
    if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", split):
        raise ManifestError(
            f"{where}: split '{split}' must be letters (a-z), digits and underscores, and begin "
            "with a letter; rename it"
        )
    if split == "all":  # TFDS: the union of all splits.
        raise ManifestError(f"{where}: the split name 'all' is taken for all splits; rename it")
    return Entry(
        id=_text(where, entry, "id", default=path),
        path=manifest.parent / path,
        class_name=_text(where, entry, "class"),
        text=_text(where, entry, "text"),
        captions=tuple(text for text in captions if text.strip()),
        split=split,
    )


def _text(where: str, entry: Mapping[str, Any], key: str, default: str | None = None) -> str:
    if key not in entry:
        if default is None:
            raise ManifestError(f"{where} has no '{key}'; add it")
        return default
    value = entry[key]
    if not isinstance(value, str) or not value.strip():
        raise ManifestError(f"{where}: '{key}' must be a text that is not empty, not {value!r}")
    return value
