"""Many small pictures on one sheet, with a line of text below each."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

_GAP = 4
_TEXT_HEIGHT = 14


def contact_sheet(
    images: Sequence[UInt8[np.ndarray, "height width 3"]], labels: Sequence[str], columns: int
) -> Image.Image:
    """Lays pictures of one size out in rows, each with its label below.

    Args:
      images: at least one sRGB picture; all of the same size.
      labels: one for each picture; what does not fit its width is cut off.
      columns: how many pictures a row has.

    Raises:
      ValueError: when there is no picture, or another number of labels than of pictures.
    """
    if not len(images) or len(images) != len(labels):
        raise ValueError(f"{len(images)} pictures, {len(labels)} labels: give one for each")
    height, width = images[0].shape[:2]
    step_x, step_y = width + _GAP, height + _TEXT_HEIGHT + _GAP
    rows = math.ceil(len(images) / columns)
    sheet = Image.new("RGB", (columns * step_x + _GAP, rows * step_y + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=10)
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        x, y = _GAP + index % columns * step_x, _GAP + index // columns * step_y
        while label and draw.textlength(label, font) > width:
            label = label[:-1]
        draw.text((x + 1, y + height), label, fill="black", font=font)
        sheet.paste(Image.fromarray(image), (x, y))
    return sheet
