"""What the page shows: labels of a shape, and shapes that a query finds."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from mixcon3d_jax.errors import InputError, InputWarning
from mixcon3d_jax.inference.classification import unit_rows
from mixcon3d_jax.inference.embedder import Rows
from mixcon3d_jax.inference.index import Index
from mixcon3d_jax.inference.model import Mode, Model
from mixcon3d_jax.inference.search import nearest
from mixcon3d_jax.models.label_files import labels_in
from mixcon3d_jax.web.shapes import Shape
from mixcon3d_jax.web.thumbnails import blank, thumbnail

# Each new name is embedded in all prompt templates, which takes a CPU a while.
_MOST_LABELS = 200

# A picture and what stands below it.
Figure = tuple[np.ndarray, str]


class Found(NamedTuple):
    """Shapes that a query found.

    Attributes:
      figures: the nearest first.
      notes: what was done to the query.
    """

    figures: list[Figure]
    notes: list[str]


def ranked_labels(model: Model, shape: Shape, names: str, mode: Mode) -> dict[str, float]:
    """Class names, separated by commas or line ends, with their probabilities.

    Raises:
      InputError: if there are fewer than two, more than 200, or one is named twice.
    """
    labels = labels_in(",".join(line for line in names.splitlines() if line.strip()), "the names")
    if len(labels) > _MOST_LABELS:
        raise InputError(f"{len(labels)} names; give at most {_MOST_LABELS}")
    (ranked,) = model.classify(shape.embedding(mode), labels, mode=mode).ranked()
    return dict(ranked)


def search(index: Index, query: Callable[[], Rows], top: int) -> Found:
    """The shapes of an index that are closest to a query.

    Args:
      index: to search among.
      query: embeds it, in one row.
      top: shapes to find.
    """
    with _notes() as notes:
        row = unit_rows(query())
    (rows,), (cosines,) = nearest(index.embeddings, row, top)
    return Found([_figure(index, *pair) for pair in zip(rows, cosines, strict=True)], notes)


def _figure(index: Index, row: int, cosine: float) -> Figure:
    picture = thumbnail(str(index.paths[row]), str(index.up_axes[row]))
    # Ids are often paths, of which there is room for the end.
    caption = f"{cosine:.3f}  {'/'.join(str(index.ids[row]).split('/')[-2:])}"
    return (blank(), f"{caption} (no such file here)") if picture is None else (picture, caption)


@contextmanager
def _notes() -> Iterator[list[str]]:
    """Collects the `InputWarning`s of what is done inside."""
    found: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InputWarning)
        yield found
    found += [str(one.message) for one in caught if issubclass(one.category, InputWarning)]
