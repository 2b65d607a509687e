"""Point clouds as the original's files have them, checked."""

from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

# How far a colour may lie outside of its range, as a share of it: rounding, not another unit.
_COLOR_SLACK = 0.01


class CloudFieldError(Exception):
    """What is wrong with coordinates or colours; who reads them says whose they are."""


def read_points(value: Any) -> Float32[np.ndarray, "points 3"]:
    """The coordinates as they are.

    Raises:
      CloudFieldError: there are none, they have another shape, or some are NaN or infinite.
      TypeError, ValueError: as NumPy says of what is no array of numbers.
    """
    with np.errstate(over="ignore"):  # infinity is found below
        points = np.asarray(value, np.float32)
    if points.ndim != 2 or points.shape[1] != 3:
        raise CloudFieldError(f"has shape {points.shape} instead of (points, 3)")
    if not len(points):
        raise CloudFieldError("has no points")
    if not np.isfinite(points).all():
        raise CloudFieldError("has NaN or infinite coordinates")
    return points


def read_colors(value: Any, num_points: int, white: float = 1.0) -> UInt8[np.ndarray, "points 3"]:
    """Colours in 0..`white` as 0..255.

    Raises:
      CloudFieldError: they are not as many as the points, or out of range.
      TypeError, ValueError: as NumPy says of what is no array of numbers.
    """
    with np.errstate(over="ignore"):
        colors = np.asarray(value, np.float32) / np.float32(white)
    if colors.shape != (num_points, 3):
        raise CloudFieldError(
            f"has shape {colors.shape} instead of {(num_points, 3)}, as 'xyz' has"
        )
    low, high = colors.min(), colors.max()
    # NaN is in no range.
    if not (low >= -_COLOR_SLACK and high <= 1 + _COLOR_SLACK):
        raise CloudFieldError(
            f"has colours from {low * white:.3g} to {high * white:.3g} instead of 0..{white:g}"
        )
    return np.rint(np.clip(colors, 0, 1) * np.float32(255)).astype(np.uint8)
