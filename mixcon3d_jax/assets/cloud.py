"""Point clouds in NumPy files."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from mixcon3d_jax.assets.asset import GREY_SRGB, Asset, AssetError, Cloud
from mixcon3d_jax.assets.color import to_bytes


def read_numpy_cloud(path: Path) -> Asset:
    """Reads a cloud from .npy or .npz; never unpickles anything.

    A .npy file holds (N, 3) positions, or (N, 6) positions and colours.  A .npz file holds
    `points` or `xyz`, (N, 3) (or (N, 6)), and optionally `colors` or `rgb`, (N, 3).  Colours are
    sRGB: integers count 0..255; floats count 0..1 when none is over 1, else 0..255.  A cloud
    without colours is 0.4 grey.

    Raises:
      AssetError: when the arrays are missing or have other shapes or types.
    """
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        points, colors = loaded, None
    else:
        with loaded as arrays:
            points = _first(arrays, ("points", "xyz"))
            colors = _first(arrays, ("colors", "rgb"))
            if points is None:
                raise AssetError(
                    f"{path}: it holds {sorted(arrays.files)}; a cloud needs 'points' or 'xyz'"
                )
    if points.ndim != 2 or points.shape[1] not in (3, 6) or points.dtype.kind not in "fiu":
        raise AssetError(
            f"{path}: positions have shape {points.shape} and type {points.dtype}; "
            "store numbers as (N, 3), or (N, 6) with colours"
        )
    if colors is None and points.shape[1] == 6:
        colors = points[:, 3:]
    return Asset(cloud=Cloud(points[:, :3].astype(np.float32), _colors(path, colors, len(points))))


def _first(arrays: np.lib.npyio.NpzFile, names: tuple[str, ...]) -> np.ndarray | None:
    return next((arrays[name] for name in names if name in arrays.files), None)


def _colors(path: Path, colors: np.ndarray | None, count: int) -> UInt8[np.ndarray, "points 3"]:
    if colors is None:
        return np.full((count, 3), GREY_SRGB, np.uint8)
    if colors.ndim != 2 or colors.shape[0] != count or colors.shape[1] not in (3, 4):
        raise AssetError(f"{path}: colours have shape {colors.shape}; store them as ({count}, 3)")
    try:
        return to_bytes(colors[:, :3])
    except (TypeError, ValueError) as error:
        raise AssetError(f"{path}: {error}; store them so") from error
