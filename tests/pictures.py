"""Image files that tests make."""

import io

import numpy as np
from PIL import Image


def encode(pixels: np.ndarray) -> bytes:
    """A PNG file of (height, width, 3) pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
