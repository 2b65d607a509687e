"""Finds out how many entries the embeddings of a source have."""

import collections
import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from data_prep.openshape.pickles import load_npy
from data_prep.openshape.units import Unit
from mixcon3d_jax.errors import InputError

_LOOKED_AT = 64
_ENOUGH = 8


def usual_embedding_size(units: Iterable[Unit]) -> int | None:
    """The size that most of the first shapes' embeddings have; None if no shape can be read.

    Args:
      units: looked into in this order, until a few shapes were read.
    """
    found = itertools.islice(filter(None, _sizes(units)), _ENOUGH)
    counts = collections.Counter(found)
    return counts.most_common(1)[0][0] if counts else None


def _sizes(units: Iterable[Unit]) -> Iterator[int]:
    """The size of each of the first shapes; 0 for those that can't be read."""
    left = _LOOKED_AT
    for unit in units:
        # What can't be read is reported by the conversion itself.
        with contextlib.suppress(InputError), contextlib.closing(unit.members()) as members:
            for member in itertools.islice(members, left):
                left -= 1
                yield 0 if member.refused else _size(member.read, unit.label(member))
        if not left:
            return


def _size(read: Callable[[], bytes], name: str) -> int:
    try:
        shape = load_npy(read(), name)
        views = np.asarray(shape["image_feat"])
        return views.shape[1] if views.ndim == 2 and views.dtype.kind == "f" else 0
    except (InputError, OSError, KeyError, TypeError, ValueError, IndexError):
        return 0
