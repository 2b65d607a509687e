"""Point clouds in arrays -> what the model takes of them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Num, UInt8

from mixcon3d_jax.assets.asset import GREY_SRGB, Asset, Cloud
from mixcon3d_jax.assets.color import to_bytes
from mixcon3d_jax.assets.load import UpAxis, z_up_to_y_up
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.inference.preparation import (
    Preparation,
    Prepared,
    as_the_model_takes,
    prepare_asset,
)


def prepare_clouds(
    points: Sequence[Num[np.ndarray, "points 3"]],
    colors: Sequence[Num[np.ndarray, "points 3"]] | None,
    up_axis: UpAxis | None,
    drawn: bool,
    preparation: Preparation,
) -> list[Prepared]:
    """Prepares clouds; see `Model.embed_points`.

    Raises:
      InputError: if one can't be used, or the up axis was not given.
    """
    if up_axis is None:
        raise InputError(
            "nothing in a point cloud says which axis points up; say up_axis='y' or up_axis='z'"
        )
    if not len(points):
        raise InputError("no clouds were given")
    given = [None] * len(points) if colors is None else colors
    if len(given) != len(points):
        raise InputError(f"{len(points)} clouds, but {len(given)} arrays of colours")
    prepare = _as_drawn if drawn else _drawn
    pairs = enumerate(zip(points, given, strict=True))
    return [prepare(f"cloud {i}", p, c, up_axis, preparation) for i, (p, c) in pairs]


def _drawn(name, points, colors, up_axis: UpAxis, preparation: Preparation) -> Prepared:
    cloud = _cloud(name, points, colors, up_axis)
    return prepare_asset(name, Asset(cloud=cloud), preparation)


def _as_drawn(name, points, colors, up_axis: UpAxis, preparation: Preparation) -> Prepared:
    """All points as they are; those of a data set's records keep their fixed point."""
    count = preparation.num_points
    if np.shape(points) != (count, 3):
        raise InputError(f"{name}: drawn points of shape {np.shape(points)}; give ({count}, 3)")
    if up_axis == preparation.up_axis and np.asarray(points).dtype == np.uint16:
        return Prepared(np.asarray(points), _color_bytes(name, colors, count))
    cloud = _cloud(name, points, colors, up_axis)
    fixed = as_the_model_takes(name, cloud.points, preparation.up_axis)
    return Prepared(fixed, cloud.colors)


def _cloud(
    name: str,
    points: Num[np.ndarray, "points 3"],
    colors: Num[np.ndarray, "points 3"] | None,
    up_axis: UpAxis,
) -> Cloud:
    """A cloud in arrays, as if it had been read from a file.

    Args:
      name: for errors.
      points: in any unit.
      colors: sRGB; integers count 0..255; floats count 0..1 when none is over 1, else 0..255.  None
        is 0.4 grey.
      up_axis: the axis that points up.

    Raises:
      InputError: if the arrays are of other shapes, or have values that can't be used.
    """
    points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] != 3 or not len(points):
        raise InputError(f"{name}: points of shape {points.shape}; give (points, 3)")
    with np.errstate(over="ignore"):
        points = points.astype(np.float32)
    if not np.isfinite(points).all():
        raise InputError(f"{name}: points are NaN or infinite; remove them")
    if up_axis not in ("y", "z"):
        raise InputError(f"{name}: say up_axis='y' or up_axis='z', the axis that points up in it")
    if up_axis == "z":
        points = z_up_to_y_up(points)
    return Cloud(points, _color_bytes(name, colors, len(points)))


def _color_bytes(
    name: str, colors: Num[np.ndarray, "points 3"] | None, count: int
) -> UInt8[np.ndarray, "points 3"]:
    """Colours as `_cloud` takes them, in 0..255.

    Raises:
      InputError: if they are of another shape, or out of range.
    """
    if colors is None:
        return np.full((count, 3), GREY_SRGB, np.uint8)
    colors = np.asarray(colors)
    if colors.shape != (count, 3):
        raise InputError(f"{name}: colours of shape {colors.shape}; give ({count}, 3)")
    try:
        return to_bytes(colors)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: {error}") from error
