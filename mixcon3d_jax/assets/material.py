"""A surface's colour as all file formats give it: a colour, a texture, or their product."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Float32

from mixcon3d_jax.assets.asset import Texture


@dataclass(frozen=True)
class Material:
    """The base colour of a surface; shine, bumps and glass are not represented.

    Attributes:
      color: linear light in [0, 1]; multiplies the texture.
      texture: None where the colour alone counts.
      uv_set: which of the primitive's texture coordinates the texture uses.
      uv_matrix: an affine map that the texture coordinates go through.
      invisible: it is fully transparent.
      unreadable: it has a texture that could not be read; `color` is the grey instead.
    """

    color: Float32[np.ndarray, "3"]
    texture: Texture | None = None
    uv_set: int = 0
    uv_matrix: Float[np.ndarray, "3 3"] = field(default_factory=lambda: np.eye(3))
    invisible: bool = False
    unreadable: bool = False
