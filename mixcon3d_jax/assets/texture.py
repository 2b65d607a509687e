"""Texture images, decoded to sRGB."""

import io
import warnings

import numpy as np
from PIL import Image

from mixcon3d_jax.assets.asset import Texture, Wrap


def decode_texture(
    data: bytes,
    name: str,
    *,
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat"),
    cut_below: float = 0.0,
) -> Texture:
    """Decodes an image file's bytes.

    Args:
      data: what the file holds.
      name: what to call it in errors.
      wrap: what happens to texture coordinates outside [0, 1].
      cut_below: texels with less opacity than this, in [0, 1], are holes.

    Raises:
      ValueError: when they are no readable image.
    """
    try:
        with warnings.catch_warnings():
            # Pillow advises against odd but readable kinds of palettes.
            warnings.simplefilter("ignore", UserWarning)
            rgba = np.asarray(_eight_bit(Image.open(io.BytesIO(data))).convert("RGBA"))
    except Exception as error:  # Pillow's decoders raise many kinds on broken data.
        raise ValueError(f"{name} is no readable image: {type(error).__name__}") from error
    solid = rgba[..., 3] >= 255 * cut_below
    return Texture(rgba[..., :3], wrap, None if solid.all() else solid)


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit grey scaled to 8 bits; Pillow would clip it, so that nearly all of it is white."""
    if not image.mode.startswith("I;16"):
        return image
    return Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))
