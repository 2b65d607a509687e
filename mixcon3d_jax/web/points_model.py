"""A coloured point cloud as GLB, to be turned about in a viewer."""

import numpy as np
import trimesh
from jaxtyping import Float, UInt8
from trimesh.exchange.gltf import export_glb

from mixcon3d_jax.assets.color import bytes_to_linear

# Viewers draw points of glTF as one pixel, which is hardly seen: each becomes an octahedron.
_CORNERS = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
_FACES = np.array(
    [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]
)
_RADIUS = 0.7  # of a single point; of many, each is smaller
_UNLIT = "KHR_materials_unlit"


def points_glb(
    points: Float[np.ndarray, "points 3"], colors: UInt8[np.ndarray, "points 3"]
) -> bytes:
    """A GLB of points, y-up, in their own colours whatever the light, in a ball of radius 1.

    Args:
      points: in any units.
      colors: sRGB.
    """
    points = points - (points.min(axis=0) + points.max(axis=0)) / 2
    points = points / max(np.linalg.norm(points, axis=1).max(), np.finfo(np.float32).tiny)
    corners = points[:, None] + _RADIUS / len(points) ** 0.5 * _CORNERS
    # glTF's vertex colours are linear light.
    linear = np.rint(255 * bytes_to_linear(colors)).astype(np.uint8)
    firsts = len(_CORNERS) * np.arange(len(points))
    mesh = trimesh.Trimesh(
        corners.reshape(-1, 3),
        (firsts[:, None, None] + _FACES).reshape(-1, 3),
        vertex_colors=np.repeat(linear, len(_CORNERS), axis=0),
        process=False,
    )
    return export_glb(trimesh.Scene(mesh), tree_postprocessor=_without_light)


def _without_light(tree: dict) -> None:
    tree["extensionsUsed"] = [_UNLIT]
    tree["materials"] = [{"extensions": {_UNLIT: {}}}]
    for mesh in tree["meshes"]:
        for primitive in mesh["primitives"]:
            primitive["material"] = 0
