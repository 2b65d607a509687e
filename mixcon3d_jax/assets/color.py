"""Colour arithmetic: sRGB and linear light, texture look-up, colours at points of triangles.

Light adds up linearly, so colours are interpolated, multiplied and shaded as linear light and
encoded as sRGB (IEC 61966-2-1) at the end.
"""

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8

from mixcon3d_jax.assets.asset import GREY_SRGB, Part, Texture, Wrap


def srgb_to_linear(srgb: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Decodes sRGB in [0, 1] to linear light in [0, 1]."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(linear: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Encodes linear light as sRGB; values outside [0, 1] are clipped."""
    linear = np.clip(linear, 0.0, 1.0)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


# Decoding 8-bit colours is a table; its float32 entries survive the way back exactly.
_LINEAR_OF_BYTE = srgb_to_linear(np.arange(256) / 255.0).astype(np.float32)
GREY_LINEAR: Float32[np.ndarray, "3"] = np.repeat(_LINEAR_OF_BYTE[GREY_SRGB], 3)


def bytes_to_linear(srgb: UInt8[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    """Decodes 8-bit sRGB to linear light in [0, 1]."""
    return _LINEAR_OF_BYTE[srgb]


def linear_to_bytes(linear: Float[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    """Encodes linear light as 8-bit sRGB, rounded to the nearest."""
    return np.rint(linear_to_srgb(linear) * 255.0).astype(np.uint8)


def to_bytes(colors: np.ndarray) -> UInt8[np.ndarray, "..."]:
    """sRGB colours as 8 bits.

    Integers are taken as 0..255.  Floats are taken as 0..1 when none is over 1, else as 0..255.

    Raises:
      ValueError: for colours that are not finite, negative or over 255.
    """
    colors = np.asarray(colors)
    if colors.dtype == np.uint8:
        return colors
    if not np.isfinite(colors).all() or (colors.size and (colors.min() < 0 or colors.max() > 255)):
        raise ValueError("colours must be 0..255 (integers) or 0..1 (floats)")
    if colors.dtype.kind == "f" and (not colors.size or colors.max() <= 1):
        colors = colors * 255.0
    return np.rint(colors).astype(np.uint8)


def texel(
    texture: Texture, uv: Float[np.ndarray, "points 2"]
) -> tuple[Int[np.ndarray, "points"], Int[np.ndarray, "points"]]:
    """The row and the column of the texel that each (u, v) lies in.

    The nearest texel, not a blend of four: low-poly assets paint from palettes of flat squares,
    and blending would bleed a neighbouring colour into them.
    """
    height, width = texture.image.shape[:2]
    column = _wrapped(uv[:, 0], texture.wrap[0], width)
    row = _wrapped(uv[:, 1], texture.wrap[1], height)
    return row, column


def _wrapped(
    coordinate: Float[np.ndarray, "points"], wrap: Wrap, size: int
) -> Int[np.ndarray, "points"]:
    coordinate = np.nan_to_num(coordinate.astype(np.float64), posinf=0.0, neginf=0.0)
    if wrap == "repeat":
        coordinate = coordinate - np.floor(coordinate)
    elif wrap == "mirror":
        coordinate = 1.0 - np.abs(coordinate % 2.0 - 1.0)
    return np.clip(np.floor(coordinate * size), 0, size - 1).astype(np.int64)


def surface_color(
    part: Part, face: Int[np.ndarray, "points"], barycentric: Float[np.ndarray, "points 3"]
) -> Float32[np.ndarray, "points 3"]:
    """The linear colour of points on a part.

    Args:
      part: the surface.
      face: the triangle that each point lies in.
      barycentric: the weights of that triangle's corners, which sum to 1.
    """
    weights = barycentric.astype(np.float32)[:, :, None]
    color = (part.colors[face] * weights).sum(axis=1)
    if part.texture is not None:
        uv = (part.uv[face] * weights).sum(axis=1)
        color = color * bytes_to_linear(part.texture.image[texel(part.texture, uv)])
    return color


def surface_is_solid(
    part: Part, face: Int[np.ndarray, "points"], barycentric: Float[np.ndarray, "points 3"]
) -> Bool[np.ndarray, "points"]:
    """Whether there is something at points of a part, or its texture is cut out there."""
    if part.texture is None or part.texture.solid is None:
        return np.ones(len(face), bool)
    uv = (part.uv[face] * barycentric.astype(np.float32)[:, :, None]).sum(axis=1)
    return part.texture.solid[texel(part.texture, uv)]
