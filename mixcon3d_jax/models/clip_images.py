"""Images on their way to CLIP's vision tower, as a folder's own image processor prepares them.

The host part gives uint8 pixels of the tower's size (a quarter of the bytes of float32, and
nothing to do for images that have that size already); the device part scales and normalises.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from PIL import Image

from mixcon3d_jax.models.clip_config import ClipError, import_transformers, read_json


def decode_image(encoded: bytes) -> UInt8[np.ndarray, "height width 3"]:
    """The RGB pixels of an image file (PNG, JPEG, ...).

    Raises:
      ClipError: it is none, or damaged.
    """
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            return np.asarray(image.convert("RGB"))
    # Pillow raises all sorts of errors on damaged files.
    except Exception as error:
        raise ClipError(
            f"an image of {len(encoded):,} bytes does not decode ({error}). Prepare the data again."
        ) from error


# An image file (PNG, JPEG, ...), its pixels, or Pillow's image of it.
RgbImage = bytes | UInt8[np.ndarray, "height width 3"] | Image.Image


@dataclass(frozen=True)
class ImagePreparation:
    """A folder's image processor, in a host part and a device part.

    Attributes:
      processor: transformers' `CLIPImageProcessorPil` of the folder.
      size: side of the square images that the vision tower takes, in pixels.
    """

    processor: object
    size: int

    @classmethod
    def read(cls, folder: Path, size: int) -> "ImagePreparation":
        """Reads `preprocessor_config.json`.

        Raises:
          ClipError: it is missing or damaged, or gives images of another size than the tower's.
        """
        path = folder / "preprocessor_config.json"
        read_json(path)
        try:
            processor = import_transformers().CLIPImageProcessorPil.from_pretrained(
                folder, local_files_only=True
            )
            preparation = cls(processor, size)
            shape = preparation._process(np.zeros((size + 1, 2 * size, 3), np.uint8)).shape
        # Values of a wrong kind surface as all sorts of errors, some only when an image comes.
        except Exception as error:
            raise ClipError(f"{path}: transformers refuses it ({error}). Replace it.") from error
        if shape != (size, size, 3):
            raise ClipError(
                f"{path}: gives images of {shape[0]} x {shape[1]}, but vision_config.image_size in "
                f"config.json is {size}. Use the processor that belongs to these weights."
            )
        return preparation

    def pixels(self, images: Sequence[RgbImage]) -> UInt8[np.ndarray, "images size size 3"]:
        """Host part: RGB, resized and cropped by the processor where the size differs.

        Raises:
          ClipError: a file is no image, or an array is not (height, width, 3) of uint8.
        """
        pixels = np.empty((len(images), self.size, self.size, 3), np.uint8)
        for filled, image in zip(pixels, images, strict=True):
            filled[...] = self._pixels(image)
        return pixels

    def _pixels(self, image: RgbImage) -> UInt8[np.ndarray, "size size 3"]:
        if isinstance(image, bytes):
            image = decode_image(image)
        if isinstance(image, Image.Image):
            image = np.asarray(image.convert("RGB"))
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ClipError(
                f"an image of shape {image.shape} and type {image.dtype}: CLIP takes "
                f"(height, width, 3) of uint8. Convert it to RGB first."
            )
        # Resizing and cropping to the size that an image has already is the identity.
        if image.shape == (self.size, self.size, 3) and self._keeps_tower_size:
            return image
        return self._process(image)

    @property
    def _keeps_tower_size(self) -> bool:
        """Whether the processor leaves an image of the tower's size as it is."""
        target = self.processor.size
        sides = {getattr(target, side) for side in ("shortest_edge", "height", "width")} - {None}
        return not self.processor.do_resize or sides == {self.size}

    def _process(self, image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "s s 3"]:
        (result,) = self.processor(
            image,
            do_rescale=False,
            do_normalize=False,
            input_data_format="channels_last",
            return_tensors="np",
        )["pixel_values"]
        return result.transpose(1, 2, 0)

    def to_tower(
        self, pixels: UInt8[Array, "images size size 3"]
    ) -> Float[Array, "images size size 3"]:
        """Device part: float32, scaled and normalised as the processor does."""
        images = pixels.astype(jnp.float32)
        if self.processor.do_rescale:
            images = images * self.processor.rescale_factor
        if self.processor.do_normalize:
            mean, std = (
                jnp.asarray(values, jnp.float32)
                for values in (self.processor.image_mean, self.processor.image_std)
            )
            images = (images - mean) / std
        return images
