"""Texture images, decoded to sRGB."""

import io
import warnings

import numpy as np
from jaxtyping import UInt8
from PIL import Image


def decode_texture(data: bytes, name: str) -> UInt8[np.ndarray, "height width 3"]:
    """Decodes an image file's bytes.

    Args:
      data: what the file holds.
      name: what to call it in errors.

    Raises:
      ValueError: when they are no readable image.
    """
    try:
        with warnings.catch_warnings():
            # Palette images with transparency in bytes: the alpha is dropped here anyway.
            warnings.simplefilter("ignore", UserWarning)
            return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    except Exception as error:  # Pillow's decoders raise many kinds on broken data.
        raise ValueError(f"{name} is no readable image: {type(error).__name__}") from error
