"""Coloured parts to a trimesh scene, in one of the three ways that real assets carry colour."""

import numpy as np
import trimesh
from jaxtyping import Float
from PIL import Image
from trimesh.visual.material import PBRMaterial

from data_prep.shapes.colours import Paint
from data_prep.shapes.surfaces import Surface, join
from mixcon3d_jax.assets.color import srgb_to_linear

# A texture holds a column of pixels for each paint, and fades along it.
COLUMN_PIXELS, TEXTURE_HEIGHT = 8, 16
FADE = (1.03, 0.95)


def build_scene(
    rng: np.random.Generator,
    parts: dict[str, Surface],
    paints: dict[str, Paint],
    placement: Float[np.ndarray, "4 4"],
) -> trimesh.Scene:
    """A scene whose parts carry their paints as materials, as vertex colours or in a texture.

    Args:
      rng: picks the way.
      parts: the surfaces.
      paints: the paint of each part.
      placement: becomes the node transform of the scene's geometry.
    """
    way = rng.choice(["materials", "vertex colours", "texture"], p=[0.5, 0.25, 0.25])
    build = {"materials": _materials, "vertex colours": _vertex_colours, "texture": _texture}[way]
    scene = trimesh.Scene()
    for name, mesh in build(parts, paints).items():
        scene.add_geometry(mesh, node_name=name, geom_name=name, transform=placement)
    return scene


def _mesh(surface: Surface, visual: trimesh.visual.base.Visuals) -> trimesh.Trimesh:
    return trimesh.Trimesh(surface.vertices, surface.faces, visual=visual, process=False)


def _material(**settings) -> PBRMaterial:
    return PBRMaterial(metallicFactor=0.0, roughnessFactor=0.9, **settings)


def _linear(paint: Paint) -> Float[np.ndarray, "3"]:
    return srgb_to_linear(np.array(paint.srgb) / 255)


def _materials(parts: dict[str, Surface], paints: dict[str, Paint]) -> dict[str, trimesh.Trimesh]:
    """A mesh a part, each with a base colour factor."""
    meshes = {}
    for name, surface in parts.items():
        factor = [*_linear(paints[name]), 1.0]
        visual = trimesh.visual.TextureVisuals(material=_material(baseColorFactor=factor))
        meshes[name] = _mesh(surface, visual)
    return meshes


def _vertex_colours(
    parts: dict[str, Surface], paints: dict[str, Paint]
) -> dict[str, trimesh.Trimesh]:
    """One mesh with a colour a vertex."""
    colours = [
        np.tile([*np.round(255 * _linear(paints[name])), 255], (len(part.vertices), 1))
        for name, part in parts.items()
    ]
    surface = join(parts.values())
    visual = trimesh.visual.ColorVisuals(vertex_colors=np.concatenate(colours).astype(np.uint8))
    return {"object": _mesh(surface, visual)}


def _texture(parts: dict[str, Surface], paints: dict[str, Paint]) -> dict[str, trimesh.Trimesh]:
    """One mesh with a small texture: a column a paint, which fades from top to bottom."""
    columns = list(dict.fromkeys(paints.values()))
    fade = np.linspace(*FADE, TEXTURE_HEIGHT)[:, None, None]
    pixels = fade * np.array([paint.srgb for paint in columns])[None]
    image = Image.fromarray(
        np.repeat(pixels, COLUMN_PIXELS, axis=1).clip(0, 255).round().astype(np.uint8)
    )
    surface = join(parts.values())
    height = surface.vertices[:, 1]
    # Half a pixel stays free at both ends, so that no sampler reads across the texture's edge.
    margin = 0.5 / TEXTURE_HEIGHT
    v = margin + (1 - 2 * margin) * (height - height.min()) / np.ptp(height)
    u = [
        np.full(len(part.vertices), (columns.index(paints[name]) + 0.5) / len(columns))
        for name, part in parts.items()
    ]
    uv = np.stack([np.concatenate(u), v], axis=1)
    visual = trimesh.visual.TextureVisuals(uv, _material(baseColorTexture=image))
    return {"object": _mesh(surface, visual)}
