"""Any supported 3D file -> an `Asset`, y-up and checked."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32

from mixcon3d_jax.assets.asset import Asset, AssetError, Cloud
from mixcon3d_jax.assets.cloud import read_numpy_cloud
from mixcon3d_jax.assets.companions import Companions
from mixcon3d_jax.assets.gltf import read_gltf
from mixcon3d_jax.assets.gltf_scene import gltf_asset
from mixcon3d_jax.assets.off import read_off
from mixcon3d_jax.assets.simple_mesh import read_simple_mesh
from mixcon3d_jax.assets.triangles import triangle_areas

UpAxis = Literal["y", "z"]

_READERS = {
    ".glb": lambda companions: gltf_asset(read_gltf(companions)),
    ".gltf": lambda companions: gltf_asset(read_gltf(companions)),
    ".obj": read_simple_mesh,
    ".ply": read_simple_mesh,
    ".stl": read_simple_mesh,
    ".off": lambda companions: read_off(companions.asset),
    ".npy": lambda companions: read_numpy_cloud(companions.asset),
    ".npz": lambda companions: read_numpy_cloud(companions.asset),
}
SUFFIXES = tuple(_READERS)

# Triangles are summed as float32; a surface under this share of its own extent squared is noise.
_LEAST_RELATIVE_AREA = 1e-10


def load_asset(path: Path, up_axis: UpAxis, root: Path | None = None) -> Asset:
    """Reads a mesh (GLB, glTF, OBJ, PLY, OFF, STL) or a point cloud (PLY, NPY, NPZ).

    Geometries stay separate, with their scene-graph transforms applied.  Colours become sRGB:
    textures and the colours of all formats but glTF are sRGB already, glTF's factors and vertex
    colours are linear by its standard.  0.4 grey where a file has no colour, or a texture that
    cannot be read (then `Asset.warnings` says so).

    Args:
      path: the file; textures, materials and buffers are looked for beside it.
      up_axis: the axis that points up in this file, whatever its format's convention.  "z" is
        turned by the proper rotation (x, y, z) -> (x, z, -y).
      root: a folder; files outside it that the asset refers to are taken as missing, so that no
        asset can read what is not part of its collection.  Default: the folder that the asset's
        folder lies in, since packs keep textures in a folder beside that of the meshes.

    Raises:
      AssetError: when the file is missing, empty, truncated, no mesh or cloud, without area, or
        has coordinates that are not finite.  The message says what to do.
    """
    path = Path(path)
    if up_axis not in ("y", "z"):
        raise AssetError(f"up axis {up_axis!r} of {path}: it must be 'y' or 'z'")
    reader = _READERS.get(path.suffix.lower())
    if not path.is_file():
        raise AssetError(f"{path}: no such file; correct the path")
    if reader is None:
        raise AssetError(
            f"{path}: not a mesh or cloud: unknown file type '{path.suffix}'; "
            f"use one of {', '.join(SUFFIXES)}"
        )
    if path.stat().st_size == 0:
        raise AssetError(f"{path}: the file is empty; copy or export it again")
    try:
        # What overflows float32 becomes infinite, which is reported below.
        with np.errstate(over="ignore", invalid="ignore"):
            asset = reader(Companions(path, root))
    except AssetError:
        raise
    except Exception as error:  # Parsers raise every kind of exception on broken files.
        raise AssetError(
            f"{path}: truncated or not a {path.suffix.lower()[1:]} file "
            f"({type(error).__name__}: {error}); copy or export it again"
        ) from error
    return _checked(path, _turned(asset, up_axis))


def _turned(asset: Asset, up_axis: UpAxis) -> Asset:
    if up_axis == "y":
        return asset
    parts = tuple(replace(part, triangles=z_up_to_y_up(part.triangles)) for part in asset.parts)
    cloud = asset.cloud and replace(asset.cloud, points=z_up_to_y_up(asset.cloud.points))
    return replace(asset, parts=parts, cloud=cloud)


def z_up_to_y_up(points: Float32[np.ndarray, "... 3"]) -> Float32[np.ndarray, "... 3"]:
    """The proper rotation (x, y, z) -> (x, z, -y)."""
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], axis=-1)


def _checked(path: Path, asset: Asset) -> Asset:
    """Raises AssetError for what cannot be sampled; drops parts without triangles."""
    if asset.cloud is not None:
        return replace(asset, cloud=_checked_cloud(path, asset.cloud))
    parts = tuple(part for part in asset.parts if len(part.triangles))
    if not parts:
        raise AssetError(f"{path}: it has neither faces nor points; export it again with geometry")
    corners = np.concatenate([part.triangles.reshape(-1, 3) for part in parts])
    if not np.isfinite(corners).all():
        raise AssetError(f"{path}: vertices are NaN or infinite; repair or export it again")
    extent = np.ptp(corners.astype(np.float64), axis=0).max()
    area = sum(triangle_areas(part.triangles).sum() for part in parts)
    if area <= _LEAST_RELATIVE_AREA * extent**2:
        raise AssetError(f"{path}: its faces have no area; export it again with a real surface")
    return replace(asset, parts=parts)


def _checked_cloud(path: Path, cloud: Cloud) -> Cloud:
    if not len(cloud.points):
        raise AssetError(f"{path}: it has neither faces nor points; export it again with geometry")
    if not np.isfinite(cloud.points).all():
        raise AssetError(f"{path}: points are NaN or infinite; remove them")
    return cloud
