"""Contact sheets of the renders, to look at before training on them."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from data_prep.prepare_asset import decode_render, read_prepared
from mixcon3d_jax.assets import NUM_VIEWS, contact_sheet
from mixcon3d_jax.assets.manifest import Entry
from mixcon3d_jax.files import write_whole

_SHEETS, _ROWS, _COLUMNS = 4, 6, 12
_ALL_VIEWS_ROWS = 8
_LARGEST = 112


def write_contact_sheets(folder: Path, work: Path, entries: Sequence[Entry]) -> list[Path]:
    """Writes a few sheets: objects of all classes, and some objects from all cameras.

    Args:
      folder: where they go; its earlier sheets are removed.
      work: holds the prepared assets.
      entries: those that were prepared.
    """
    for earlier in folder.glob("*.png"):
        earlier.unlink()
    by_class = sorted(entries, key=lambda entry: (entry.class_name, entry.id))
    shown = _spread(by_class, _SHEETS * _ROWS * _COLUMNS)
    written = []
    for number, start in enumerate(range(0, len(shown), _ROWS * _COLUMNS)):
        sheet = shown[start : start + _ROWS * _COLUMNS]
        images = [_view(read_prepared(work, entry.id).renders[0]) for entry in sheet]
        labels = [entry.class_name for entry in sheet]
        written.append(folder / f"objects_{number}.png")
        _save(written[-1], contact_sheet(images, labels, _COLUMNS))
    images, labels = [], []
    for entry in _spread(by_class, _ALL_VIEWS_ROWS):
        images += [_view(png) for png in read_prepared(work, entry.id).renders]
        labels += [entry.class_name] * NUM_VIEWS
    if images:
        written.append(folder / "all_views.png")
        _save(written[-1], contact_sheet(images, labels, NUM_VIEWS))
    return written


def _spread(entries: Sequence[Entry], most: int) -> list[Entry]:
    """At most `most` entries, evenly spread over the list."""
    chosen = np.linspace(0, len(entries) - 1, min(most, len(entries))).round().astype(int)
    return [entries[index] for index in chosen]


def _view(png: bytes) -> np.ndarray:
    image = Image.fromarray(decode_render(png))
    image.thumbnail((_LARGEST, _LARGEST))
    return np.asarray(image)


def _save(path: Path, image: Image.Image) -> None:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    write_whole(path, buffer.getvalue())
