"""Images as a user has them: paths, Pillow's, arrays; one, or several views of one object."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from mixcon3d_jax.errors import InputError
from mixcon3d_jax.models.clip_config import ClipError
from mixcon3d_jax.models.clip_images import decode_image

# A path, Pillow's image, or sRGB pixels.
AnyImage = str | Path | Image.Image | UInt8[np.ndarray, "height width 3"]
Pixels = UInt8[np.ndarray, "height width 3"]


def views_of(entry: AnyImage | Sequence[AnyImage], number: int) -> list[Pixels]:
    """The pixels of one image, or of each in a sequence (an array of 4 axes is one).

    Args:
      entry: what was given.
      number: of the entry, for errors.

    Raises:
      InputError: if one is no image.
    """
    several = isinstance(entry, list | tuple) or getattr(entry, "ndim", 3) == 4
    views = [_pixels(view, number) for view in (entry if several else [entry])]
    if not views:
        raise InputError(f"image {number}: an empty list of views")
    return views


def _pixels(image: AnyImage, number: int) -> Pixels:
    if isinstance(image, str | Path):
        return _read(Path(image))
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise InputError(
            f"image {number}: an array of shape {pixels.shape} and type {pixels.dtype}; give "
            "(height, width, 3) of uint8"
        )
    return pixels


def _read(path: Path) -> Pixels:
    try:
        return decode_image(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}); check the path") from error
    except ClipError as error:
        raise InputError(f"{path} is no image that can be read; give a PNG or JPEG") from error
