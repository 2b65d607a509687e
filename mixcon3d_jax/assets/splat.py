"""Pictures of a point cloud: every point a disc that faces the camera, the nearest one visible."""

import numpy as np
from jaxtyping import Float32, UInt8

from mixcon3d_jax.assets.cameras import CAMERA_DISTANCE, OBJECT_EXTENT, TAN_HALF_FOV, Frame
from mixcon3d_jax.assets.color import bytes_to_linear

# The discs' areas add up to this many times the surface that a cloud is taken to cover: two sides
# of a square of its largest extent.  Points at random leave exp(-5), under 1 %, of that bare.
_COVERAGE = 5
_NOMINAL_AREA = 2 * OBJECT_EXTENT**2
_LARGEST_RADIUS = 0.04
# Brightness of the nearest and of the farthest point: a cloud has no normals to shade by.
_NEAR_LIGHT, _FAR_LIGHT = 0.85, 0.5


def splat_view(
    points: Float32[np.ndarray, "points 3"],
    colors: UInt8[np.ndarray, "points 3"],
    frame: Frame,
    size: int,
) -> Float32[np.ndarray, "size size 3"]:
    """Draws a cloud before white, in linear light.

    Args:
      points: centred and scaled by `fit_to_views`.
      colors: sRGB.
      frame: the camera.
      size: height and width of the picture.
    """
    relative = points - frame.position
    depth = relative @ frame.forward
    half = size / 2
    column = half * (1 + relative @ frame.right / (depth * TAN_HALF_FOV))
    row = half * (1 - relative @ frame.up / (depth * TAN_HALF_FOV))
    nearness = (CAMERA_DISTANCE + OBJECT_EXTENT / 2 - depth) / OBJECT_EXTENT
    light = _FAR_LIGHT + (_NEAR_LIGHT - _FAR_LIGHT) * np.clip(nearness, 0, 1)
    lit = bytes_to_linear(colors) * light[:, None].astype(np.float32)

    radius = min(np.sqrt(_COVERAGE * _NOMINAL_AREA / np.pi / len(points)), _LARGEST_RADIUS)
    image = np.ones((size * size, 3), np.float32)
    far_to_near = np.argsort(-depth, kind="stable")
    target = np.full(size * size, -1)
    for down, right in _disc(radius * half / (CAMERA_DISTANCE * TAN_HALF_FOV)):
        x = np.floor(column[far_to_near]).astype(np.int64) + right
        y = np.floor(row[far_to_near]).astype(np.int64) + down
        inside = (x >= 0) & (x < size) & (y >= 0) & (y < size)
        # The rank from far to near is a z-buffer: in each pixel the highest rank wins.
        np.maximum.at(target, (y * size + x)[inside], np.flatnonzero(inside))
    drawn = target >= 0
    image[drawn] = lit[far_to_near[target[drawn]]]
    return image.reshape(size, size, 3)


def _disc(radius: float) -> list[tuple[int, int]]:
    """Pixel offsets within a radius, at least the pixel itself."""
    reach = int(np.ceil(radius))
    offsets = range(-reach, reach + 1)
    return [(y, x) for y in offsets for x in offsets if x * x + y * y <= max(radius, 0.5) ** 2]
