"""Small pictures of shapes, drawn from their stored points."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from mixcon3d_jax.assets.cameras import camera_frames, fit_to_views
from mixcon3d_jax.assets.color import linear_to_bytes
from mixcon3d_jax.assets.splat import splat_view
from mixcon3d_jax.data.schema import decode_points

SIZE = 112
# Pixels a pixel and axis, and points of a cloud: what is enough at this size.
_FINER, _POINTS, _COLORS = 2, 8192, 48


def thumbnail(example: Mapping[str, Any]) -> bytes:
    """A PNG of `SIZE` x `SIZE` of a stored example, from the first of the 12 cameras."""
    # Stored points are in random order.
    points, colors = decode_points(example)[:_POINTS], example["colors"][:_POINTS]
    centre, scale = fit_to_views(points.astype(np.float64))
    fitted = ((points - centre) * scale).astype(np.float32)
    fine = splat_view(fitted, colors, camera_frames()[0], SIZE * _FINER)
    image = fine.reshape(SIZE, _FINER, SIZE, _FINER, 3).mean(axis=(1, 3))
    file = io.BytesIO()
    picture = Image.fromarray(linear_to_bytes(image)).quantize(_COLORS)
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()
