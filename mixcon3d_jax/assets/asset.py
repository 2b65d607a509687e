"""What a 3D asset is here: coloured triangles, or coloured points, y-up."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from mixcon3d_jax.errors import InputError

# What a surface without any colour gets: 0.4 of full scale.
GREY_SRGB = 102

Wrap = Literal["repeat", "mirror", "clamp"]


class AssetError(InputError):
    """An asset cannot be used.  The message names the file, the reason and what to do."""


@dataclass(frozen=True)
class Texture:
    """An image laid over triangles.

    Attributes:
      image: sRGB, the first row at the top.
      wrap: what happens to (u, v) outside [0, 1], for each of the two.
      solid: where it is more opaque than not, for textures that cut leaves or grates out of a
        flat surface; None where all of it is.
    """

    image: UInt8[np.ndarray, "height width 3"]
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")
    solid: Bool[np.ndarray, "height width"] | None = None


@dataclass(frozen=True)
class Part:
    """The triangles of one geometry, which share one texture or have none.

    Everything is stored by corner, so parts can be drawn together and split without indices.

    Attributes:
      triangles: corner positions in the asset's own units, y-up.
      colors: linear light in [0, 1]; the texture is multiplied by it.
      uv: texture coordinates with v = 0 at the image's top row (glTF's convention).
      texture: None where `colors` alone is the colour.
    """

    triangles: Float32[np.ndarray, "faces 3 3"]
    colors: Float32[np.ndarray, "faces 3 3"]
    uv: Float32[np.ndarray, "faces 3 2"] | None = None
    texture: Texture | None = None


@dataclass(frozen=True)
class Cloud:
    """Points without a surface: positions in the asset's own units, y-up, and sRGB colours."""

    points: Float32[np.ndarray, "points 3"]
    colors: UInt8[np.ndarray, "points 3"]


@dataclass(frozen=True)
class Asset:
    """One 3D object: either `parts` or `cloud`.

    Attributes:
      parts: at least one part with area, unless `cloud` is given.
      cloud: a point cloud, for files that hold no triangles.
      warnings: what was wrong with the file and could be mended (an unreadable texture, ...).
      companions: the other files that it consists of (materials, textures, buffers).
    """

    parts: tuple[Part, ...] = ()
    cloud: Cloud | None = None
    warnings: list[str] = field(default_factory=list)
    companions: tuple[Path, ...] = ()
