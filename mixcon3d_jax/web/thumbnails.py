"""Small pictures of the shapes of an index."""

import functools
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from mixcon3d_jax.assets import AssetError, load_asset, render_views
from mixcon3d_jax.assets.load import UpAxis

_SIZE = 160
_FIRST_CAMERA = slice(1)
_PAPER = 235


@functools.lru_cache(maxsize=2048)
def thumbnail(path: str, up_axis: UpAxis) -> UInt8[np.ndarray, "size size 3"] | None:
    """A render of the asset in a file; None where the file is gone or can't be used."""
    try:
        asset = load_asset(Path(path), up_axis)
    except AssetError:
        return None
    (view,) = render_views(asset, _SIZE, cameras=_FIRST_CAMERA)
    return view


def blank() -> UInt8[np.ndarray, "size size 3"]:
    """What stands where there is no picture."""
    return np.full((_SIZE, _SIZE, 3), _PAPER, np.uint8)
