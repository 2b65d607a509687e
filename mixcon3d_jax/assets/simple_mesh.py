"""OBJ, PLY and STL files, parsed by trimesh."""

import io
from collections.abc import Callable

import numpy as np
import trimesh
from jaxtyping import Float32

from mixcon3d_jax.assets.asset import Asset, AssetError, Cloud, Part
from mixcon3d_jax.assets.color import GREY_LINEAR, GREY_SRGB, bytes_to_linear
from mixcon3d_jax.assets.companions import Companions
from mixcon3d_jax.assets.completeness import check_whole
from mixcon3d_jax.assets.material import Material
from mixcon3d_jax.assets.mtl import obj_materials
from mixcon3d_jax.assets.texture import decode_texture


class _Resolver(trimesh.resolvers.Resolver):
    """Lets trimesh read the files that an asset refers to."""

    def __init__(self, read: Callable[[str], bytes]):
        self._read = read

    def get(self, key: str) -> bytes:
        return self._read(key)

    def keys(self) -> list[str]:
        return []

    def namespaced(self, namespace: str) -> "_Resolver":
        raise NotImplementedError("single files have no namespaces")

    def write(self, name: str, data: bytes) -> None:
        raise NotImplementedError("assets are only read")


def read_simple_mesh(companions: Companions) -> Asset:
    """Reads an OBJ, PLY or STL file; colours in these formats are sRGB as they are.

    Each group of faces with one material is a part of its own.  Colour comes from the material
    (texture x `Kd`) where there is one, else from the faces, else from the vertices.
    """
    path = companions.asset
    kind = path.suffix.lower()[1:]
    check_whole(path)
    data, resolver = path.read_bytes(), _Resolver(companions.read)
    notes: list[str] = []
    materials = obj_materials(companions, notes) if kind == "obj" else {}
    ply_material = _ply_material(companions, notes) if kind == "ply" else None
    if kind == "obj":
        # trimesh knows no tabs and one library: give it names only, of all that were read.
        data = data.replace(b"\t", b" ")
        names = "\n".join(f"newmtl {name}" for name in materials).encode()
        resolver = _Resolver(lambda _: names)
    # process=False: merging vertices would drop broken ones before they are reported.
    scene = trimesh.load_scene(io.BytesIO(data), file_type=kind, resolver=resolver, process=False)
    parts, cloud = [], None
    for geometry in scene.geometry.values():
        if isinstance(geometry, trimesh.Trimesh) and len(geometry.faces):
            name = getattr(getattr(geometry.visual, "material", None), "name", None)
            parts.append(_part(geometry, materials.get(name, ply_material)))
        elif len(getattr(geometry, "vertices", ())) and kind == "ply":
            cloud = _cloud(geometry)
    return Asset(tuple(parts), None if parts else cloud, notes, tuple(companions.files))


def _part(mesh: trimesh.Trimesh, material: Material | None) -> Part:
    faces = np.asarray(mesh.faces)
    if faces.min() < 0 or faces.max() >= len(mesh.vertices):
        raise ValueError("a face refers to a vertex that is not there")
    triangles = np.asarray(mesh.vertices, np.float32)[faces]
    if material is None:
        return Part(triangles, _own_colors(mesh, faces))
    colors = np.broadcast_to(material.color, triangles.shape)
    uv = getattr(mesh.visual, "uv", None)
    if material.texture is None or uv is None or len(uv) != len(mesh.vertices):
        return Part(triangles, colors)
    # These formats count v from the bottom row of the image.
    uv = np.stack([uv[:, 0], 1.0 - uv[:, 1]], axis=1).astype(np.float32)
    return Part(triangles, colors, uv[faces], material.texture)


def _own_colors(mesh: trimesh.Trimesh, faces: np.ndarray) -> Float32[np.ndarray, "faces 3 3"]:
    """Colours stored with the faces or vertices as linear light; grey without any."""
    if mesh.visual.kind == "face":
        colors = bytes_to_linear(np.asarray(mesh.visual.face_colors)[:, None, :3])
        return np.broadcast_to(colors, (len(faces), 3, 3))
    if mesh.visual.kind == "vertex":
        return bytes_to_linear(np.asarray(mesh.visual.vertex_colors)[faces, :3])
    return np.broadcast_to(GREY_LINEAR, (len(faces), 3, 3))


def _cloud(geometry: trimesh.PointCloud | trimesh.Trimesh) -> Cloud:
    points = np.asarray(geometry.vertices, np.float32)
    colors = getattr(geometry, "colors", None)
    if colors is None or len(colors) != len(points):
        return Cloud(points, np.full(points.shape, GREY_SRGB, np.uint8))
    return Cloud(points, np.asarray(colors, np.uint8)[:, :3])


def _ply_material(companions: Companions, notes: list[str]) -> Material | None:
    """The material of the texture that a PLY header names in a comment, or None."""
    with companions.asset.open("rb") as file:
        header = file.read(1 << 16).partition(b"end_header")[0].decode("latin-1")
    for line in header.splitlines():
        words = line.split(maxsplit=2)
        if len(words) == 3 and words[0] == "comment" and words[1].lower() == "texturefile":
            try:
                texture = decode_texture(companions.read(words[2]), words[2])
            except (AssetError, ValueError) as error:
                notes.append(f"texture is unreadable ({error}); grey instead")
                return Material(GREY_LINEAR, unreadable=True)
            return Material(np.ones(3, np.float32), texture)
    return None
