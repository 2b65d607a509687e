"""Pictures of an asset from the 12 cameras, by ray casting on the CPU."""

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from jaxtyping import Bool, Float32, Int, UInt8

from mixcon3d_jax.assets.asset import Asset, Part
from mixcon3d_jax.assets.cameras import TAN_HALF_FOV, Frame, camera_frames, fit_to_views
from mixcon3d_jax.assets.color import linear_to_bytes, surface_color, surface_is_solid
from mixcon3d_jax.assets.splat import splat_view

# Light, as shares of full white: from everywhere, from the sky, from a lamp at the camera, and
# from a lamp up to its left, which tells apart faces that the camera sees at the same angle.
# They sum to less than 1, so that a white object stands out against the white background.
AMBIENT, SKY, CAMERA_LAMP, SIDE_LAMP = 0.26, 0.16, 0.32, 0.22

# How many holes of cut-out textures a ray passes at most, and how far it steps to leave one; the
# object's largest extent is 0.8.
_MOST_LAYERS, _STEP = 16, 1e-4


def render_views(
    asset: Asset, size: int = 224, supersample: int = 2, cameras: slice = slice(None)
) -> UInt8[np.ndarray, "views size size 3"]:
    """Renders an asset from the 12 cameras of OpenShape's renders, or from some of them.

    The object is centred and scaled to fit, lit from the camera, its side and the sky, with flat
    two-sided shading, before white.  Deterministic.

    Args:
      asset: what `load_asset` returns.
      size: height and width of a picture, in pixels.
      supersample: rays a pixel and axis; the picture is their mean, in linear light.
      cameras: which of them.

    Returns:
      sRGB pictures, (12, size, size, 3), or fewer.
    """
    fine, frames = size * supersample, camera_frames()[cameras]
    if asset.cloud is not None:
        centre, scale = fit_to_views(asset.cloud.points.astype(np.float64))
        points = ((asset.cloud.points - centre) * scale).astype(np.float32)
        views = [splat_view(points, asset.cloud.colors, f, fine) for f in frames]
    else:
        views = _mesh_views(asset.parts, frames, fine)
    return np.stack([linear_to_bytes(_shrunk(view, supersample)) for view in views])


def _shrunk(
    image: Float32[np.ndarray, "fine fine 3"], factor: int
) -> Float32[np.ndarray, "size size 3"]:
    size = len(image) // factor
    return image.reshape(size, factor, size, factor, 3).mean(axis=(1, 3))


def _mesh_views(
    parts: tuple[Part, ...], frames: list[Frame], size: int
) -> list[Float32[np.ndarray, "size size 3"]]:
    """Linear-light pictures of triangles before white, one a camera."""
    corners = np.concatenate([part.triangles.reshape(-1, 3) for part in parts]).astype(np.float64)
    centre, scale = fit_to_views(corners)
    triangles = ((corners - centre) * scale).astype(np.float32).reshape(-1, 3, 3)
    scene = EmbreeScene()
    TriangleMesh(scene, triangles)
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]).astype(
        np.float64
    )
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    starts = np.cumsum([0] + [len(part.triangles) for part in parts])
    views = []
    for frame in frames:
        directions = _ray_directions(frame, size)
        origins = np.tile(frame.position.astype(np.float32), (len(directions), 1))
        image = np.ones((size * size, 3), np.float32)
        rays = np.arange(size * size)
        for _ in range(_MOST_LAYERS):
            hits = scene.run(origins[rays], directions[rays], output=True)
            hit = hits["primID"] >= 0
            rays, face = rays[hit], hits["primID"][hit].astype(np.int64)
            u, v = hits["u"][hit], hits["v"][hit]
            base, solid = _base_color(parts, starts, face, np.stack([1 - u - v, u, v], axis=1))
            light = _light(normals[face], directions[rays], frame)
            image[rays[solid]] = (base * light[:, None])[solid]
            # Rays through the holes of cut-out textures go on behind them.
            beyond = hits["tfar"][hit][~solid] + _STEP
            rays = rays[~solid]
            if not len(rays):
                break
            origins[rays] += beyond[:, None] * directions[rays]
        views.append(image.reshape(size, size, 3))
    return views


def _ray_directions(frame: Frame, size: int) -> Float32[np.ndarray, "pixels 3"]:
    """Unit vectors through the pixel centres, row by row from the top left."""
    across = ((np.arange(size) + 0.5) / size * 2 - 1) * TAN_HALF_FOV
    x, y = np.meshgrid(across, -across)
    directions = frame.forward + x[..., None] * frame.right + y[..., None] * frame.up
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    return directions.reshape(-1, 3).astype(np.float32)


def _base_color(
    parts: tuple[Part, ...],
    starts: Int[np.ndarray, "bounds"],
    face: Int[np.ndarray, "hits"],
    barycentric: Float32[np.ndarray, "hits 3"],
) -> tuple[Float32[np.ndarray, "hits 3"], Bool[np.ndarray, "hits"]]:
    """The unlit linear colour where rays hit, and whether there is something.

    `face` counts through all parts.
    """
    part_of = np.searchsorted(starts, face, side="right") - 1
    color, solid = np.empty((len(face), 3), np.float32), np.empty(len(face), bool)
    for index in np.unique(part_of):
        mine = part_of == index
        where = (parts[index], face[mine] - starts[index], barycentric[mine])
        color[mine], solid[mine] = surface_color(*where), surface_is_solid(*where)
    return color, solid


def _light(
    normals: np.ndarray, directions: Float32[np.ndarray, "hits 3"], frame: Frame
) -> Float32[np.ndarray, "hits"]:
    """How bright a white surface is where rays hit, in [AMBIENT, 1)."""
    facing = (normals * directions).sum(axis=1)
    # Two-sided: a surface seen from behind is lit as if it were turned round.
    normals = np.where(facing[:, None] > 0, -normals, normals)
    side = frame.up * 0.8 - frame.right * 0.6 - frame.forward * 0.5
    lamp = np.maximum(normals @ (side / np.linalg.norm(side)), 0)
    sky = 0.5 + 0.5 * normals[:, 1]
    light = AMBIENT + SKY * sky + CAMERA_LAMP * np.abs(facing) + SIDE_LAMP * lamp
    return light.astype(np.float32)
