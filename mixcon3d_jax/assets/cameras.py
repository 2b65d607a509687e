"""The 12 cameras that every object is looked at from."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

# (polar angle from the up axis, azimuth) in multiples of pi: the views of OpenShape's renders
# (Liu et al., 2023), which the image embeddings of its training data come from.
VIEW_ANGLES = (
    (1 / 3, 1 / 6),
    (1 / 3, 4 / 6),
    (1 / 3, 7 / 6),
    (1 / 3, 10 / 6),
    (1 / 2, 2 / 6),
    (1 / 2, 5 / 6),
    (1 / 2, 8 / 6),
    (1 / 2, 11 / 6),
    (2 / 3, 0),
    (2 / 3, 1 / 2),
    (2 / 3, 1),
    (2 / 3, 3 / 2),
)
NUM_VIEWS = len(VIEW_ANGLES)
CAMERA_DISTANCE = 1.2
OBJECT_EXTENT = 0.8
# Half the sensor's width over the focal length: the image spans +-TAN_HALF_FOV at distance 1.
TAN_HALF_FOV = 16 / 35
# How much of the frame an object may fill; the rest is a margin.
_FILL = 0.95


@dataclass(frozen=True)
class Frame:
    """A camera's position and its axes; it looks at the origin.  All y-up."""

    position: Float[np.ndarray, "3"]
    right: Float[np.ndarray, "3"]
    up: Float[np.ndarray, "3"]
    forward: Float[np.ndarray, "3"]


def camera_frames() -> list[Frame]:
    """The cameras around the origin."""
    frames = []
    for polar, azimuth in np.array(VIEW_ANGLES) * np.pi:
        # The angles are given for z up; (x, y, z) -> (x, z, -y) makes it y up.
        direction = np.array(
            [np.sin(polar) * np.cos(azimuth), np.cos(polar), -np.sin(polar) * np.sin(azimuth)]
        )
        right = np.cross([0.0, 1.0, 0.0], direction)
        right /= np.linalg.norm(right)
        frames.append(
            Frame(CAMERA_DISTANCE * direction, right, np.cross(direction, right), -direction)
        )
    return frames


def fit_to_views(
    corners: Float[np.ndarray, "corners 3"],
) -> tuple[Float[np.ndarray, "3"], float]:
    """The centre and the scale that put an object before the cameras: (x - centre) * scale.

    The largest extent of the bounding box becomes 0.8, as in OpenShape's renders; boxy objects,
    whose corners would leave the picture at that size, are made just small enough to fit.
    """
    low, high = corners.min(axis=0), corners.max(axis=0)
    centre = (low + high) / 2
    extent = max(float((high - low).max()), np.finfo(np.float32).tiny)
    unit = (corners - centre) / extent
    scale = OBJECT_EXTENT
    for frame in camera_frames():
        # A point s * p is inside when s * |p.right| <= tan * (distance + s * p.forward).
        depth = TAN_HALF_FOV * _FILL * (unit @ frame.forward)
        for axis in (frame.right, frame.up):
            excess = np.abs(unit @ axis) - depth
            scale = min(scale, TAN_HALF_FOV * _FILL * CAMERA_DISTANCE / max(excess.max(), 1e-9))
    return centre, scale / extent
