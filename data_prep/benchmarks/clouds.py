"""Labelled point clouds without views or texts -> records."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8

from data_prep.benchmarks.failures import Failures
from mixcon3d_jax.data.schema import Record
from mixcon3d_jax.errors import InputError

GREY = 102  # 0.4, what a cloud without colours gets

# How far a colour may lie outside of its range, as a share of it: rounding, not another unit.
_COLOR_SLACK = 0.01


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
    points = _numbers(item, "xyz", item.xyz)
    if not np.isfinite(points).all():
        raise CloudError(f"item {item.id!r}: xyz has NaN or infinite coordinates")
    if item.rgb is None:
        return points, np.full(points.shape, GREY, np.uint8)
    colors = _numbers(item, "rgb", item.rgb) / white
    if len(colors) != len(points):
        raise CloudError(f"item {item.id!r}: {len(colors)} colours for {len(points)} points")
    if not (colors.min() >= -_COLOR_SLACK and colors.max() <= 1 + _COLOR_SLACK):  # NaN is in none
        raise CloudError(
            f"item {item.id!r}: rgb goes from {colors.min() * white:.3g} to "
            f"{colors.max() * white:.3g} instead of 0 to {white:g}"
        )
    return points, np.rint(255 * np.clip(colors, 0, 1)).astype(np.uint8)


def _numbers(item: Item, field: str, value: Any) -> Float[np.ndarray, "points 3"]:
    try:
        with np.errstate(over="ignore"):  # infinity is found later
            array = np.asarray(value, np.float32)
    except (TypeError, ValueError) as error:
        raise CloudError(f"item {item.id!r}: {field} is no array of numbers ({error})") from error
    if array.ndim != 2 or array.shape[1] != 3 or not len(array):
        raise CloudError(f"item {item.id!r}: {field} has shape {array.shape}, not (points, 3)")
    return array
