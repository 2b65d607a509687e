"""Geometry of triangles."""

import numpy as np
from jaxtyping import Float, Float64


def triangle_areas(corners: Float[np.ndarray, "faces 3 3"]) -> Float64[np.ndarray, "faces"]:
    """The area of each triangle, given by its corners, in their unit squared."""
    a, b, c = np.moveaxis(corners.astype(np.float64), 1, 0)
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
