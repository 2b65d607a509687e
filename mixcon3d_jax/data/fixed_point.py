"""Coordinates as they are stored: 16-bit fixed point over a cloud's own range."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, UInt16

_FIXED_POINT_MAX = 65535


def encode_points(
    points: Float[np.ndarray, "points 3"],
) -> tuple[UInt16[np.ndarray, "points 3"], Float[np.ndarray, "3"], np.float32]:
    """16-bit fixed point over the cloud's range: `points ~ low + step * fixed`."""
    points = np.asarray(points, np.float32)
    low = points.min(axis=0)
    above = points - low
    extent = above.max()
    step = extent / np.float32(_FIXED_POINT_MAX) if extent > 0 else np.float32(1.0)
    fixed = np.rint(above / step)
    return np.minimum(fixed, _FIXED_POINT_MAX).astype(np.uint16), low, step


def decode_points(example: Mapping[str, Any]) -> Float[np.ndarray, "points 3"]:
    """The points of a stored example, float32, y-up, in the asset's own units."""
    return example["points"].astype(np.float32) * example["points_step"] + example["points_low"]
