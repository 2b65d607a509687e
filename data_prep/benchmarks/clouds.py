"""Labelled point clouds without views or texts -> records."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from data_prep.benchmarks.failures import Failures
from data_prep.openshape.clouds import CloudFieldError, read_colors, read_points
from mixcon3d_jax.data.schema import Record
from mixcon3d_jax.errors import InputError

GREY = 102  # 0.4, what a cloud without colours gets


class CloudError(InputError):
    """A point cloud that can't be used; the message says what is wrong with it."""


@dataclass(frozen=True)
class Item:
    """A labelled cloud as the original's files have it.

    Attributes:
      id: its own.
      class_name: what it is.
      xyz: (points, 3), y-up.
      rgb: (points, 3) from 0 to the benchmark's `white`; None without colours.
    """

    id: str
    class_name: str
    xyz: Any
    rgb: Any = None


@dataclass(frozen=True)
class LabelledClouds:
    """A benchmark of clouds.

    Attributes:
      dataset: the original's name of the data set.
      classes: the names to choose among, in the original's order.
      class_embeddings: the original's, a row a class.
      items: in the original's order.
      white: the largest value of a colour.
    """

    dataset: str
    classes: tuple[str, ...]
    class_embeddings: Float32[np.ndarray, "classes D"]
    items: Sequence[Item]
    white: float = 1.0

    def records(self, embedding_size: int, failures: Failures) -> Iterator[Record]:
        """The records of all items that can be used; the others go to `failures`."""
        for item in self.items:
            try:
                points, colors = read_cloud(item, self.white)
            except CloudError as error:
                failures.add(item.id, str(error))
                continue
            yield Record(
                id=item.id,
                dataset=self.dataset,
                class_name=item.class_name,
                points=points,
                colors=colors,
                view_embeddings=np.zeros((0, embedding_size), np.float16),
                thumbnail_embedding=np.zeros((0, embedding_size), np.float16),
                texts=(),
            )


def read_cloud(
    item: Item, white: float
) -> tuple[Float32[np.ndarray, "points 3"], UInt8[np.ndarray, "points 3"]]:
    """The points as they are and the colours in 0..255.

    Raises:
      CloudError: shapes don't fit, or a number is out of range.
    """
    with _field(item, "xyz"):
        points = read_points(item.xyz)
    if item.rgb is None:
        return points, np.full(points.shape, GREY, np.uint8)
    with _field(item, "rgb"):
        return points, read_colors(item.rgb, len(points), white)


@contextmanager
def _field(item: Item, name: str) -> Iterator[None]:
    """Says in which item and field something was wrong."""
    try:
        yield
    except CloudFieldError as error:
        raise CloudError(f"item {item.id!r}: {name} {error}") from None
    except (TypeError, ValueError, OverflowError) as error:  # as NumPy says of strange content
        raise CloudError(f"item {item.id!r}: {name} is no array of numbers ({error})") from error
