"""The coloured triangles of a glTF scene: nodes, primitives and materials.

Source: Khronos glTF 2.0 specification, sections 3.5 (nodes), 3.7 (primitives), 3.9 (materials).
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from mixcon3d_jax.assets.asset import Asset, AssetError, Cloud, Part, Texture, Wrap
from mixcon3d_jax.assets.color import GREY_LINEAR, linear_to_bytes
from mixcon3d_jax.assets.gltf import Gltf, read_uri
from mixcon3d_jax.assets.gltf_skin import joint_matrices, skinned
from mixcon3d_jax.assets.material import Material
from mixcon3d_jax.assets.texture import decode_texture

_POINTS, _TRIANGLES, _STRIP, _FAN = 0, 4, 5, 6
_WRAP: dict[int, Wrap] = {10497: "repeat", 33071: "clamp", 33648: "mirror"}


def gltf_asset(gltf: Gltf) -> Asset:
    """All primitives of the default scene, each node's transform applied.

    Colour is texture x `baseColorFactor` x COLOR_0; the last two are linear by the standard.  A
    primitive with neither material nor COLOR_0 is grey.  What a material makes fully transparent
    is left out, unless that would leave nothing.  Meshes with bones are as their joints stand.
    """
    notes: list[str] = []
    materials = [_material(gltf, entry, notes) for entry in gltf.tree.get("materials", ())]
    parts, invisible, clouds = [], [], []
    for primitive, positions in _placed_primitives(gltf):
        mode = primitive.get("mode", _TRIANGLES)
        if mode in (_TRIANGLES, _STRIP, _FAN):
            material = materials[primitive["material"]] if "material" in primitive else None
            hidden = material is not None and material.invisible
            part = _part(gltf, primitive, mode, positions, material)
            (invisible if hidden else parts).append(part)
        elif mode == _POINTS:
            clouds.append(_cloud(gltf, primitive, positions))
    if invisible and not parts and not clouds:
        notes.append("all of it is fully transparent; taken as if it were not")
        parts = invisible
    cloud = None
    if clouds and not parts:
        cloud = Cloud(
            np.concatenate([c.points for c in clouds]), np.concatenate([c.colors for c in clouds])
        )
    return Asset(tuple(parts), cloud, notes, tuple(gltf.companions.files))


def _placed_primitives(gltf: Gltf) -> Iterator[tuple[dict, Float[np.ndarray, "vertices 3"]]]:
    """Every primitive of the default scene with its vertices' positions in the scene."""
    world = _world_matrices(gltf)
    for index, matrix in world.items():
        node = gltf.tree["nodes"][index]
        if "mesh" not in node:
            continue
        joints = joint_matrices(gltf, node["skin"], world) if "skin" in node else None
        for primitive in gltf.tree["meshes"][node["mesh"]]["primitives"]:
            attributes = primitive["attributes"]
            positions = gltf.accessor(attributes["POSITION"]).astype(np.float64)
            if joints is not None and "WEIGHTS_0" in attributes:
                # By the standard joints replace the node's own transform.
                yield primitive, skinned(gltf, attributes, positions, joints)
            else:
                yield primitive, positions @ matrix[:3, :3].T + matrix[:3, 3]


def _world_matrices(gltf: Gltf) -> dict[int, Float[np.ndarray, "4 4"]]:
    """Node index -> matrix, for all nodes of the default scene."""
    nodes = gltf.tree.get("nodes", [])
    scenes = gltf.tree.get("scenes")
    if scenes:
        roots = scenes[gltf.tree.get("scene", 0)].get("nodes", [])
    else:
        children = {child for node in nodes for child in node.get("children", ())}
        roots = [index for index in range(len(nodes)) if index not in children]
    world: dict[int, np.ndarray] = {}
    stack = [(np.eye(4), root) for root in reversed(roots)]
    while stack:
        parent, index = stack.pop()
        if index in world:
            raise AssetError(
                f"{gltf.path}: its nodes form a cycle, or one has two parents; export it again"
            )
        world[index] = parent @ _local_matrix(nodes[index])
        children = nodes[index].get("children", ())
        stack += [(world[index], child) for child in reversed(children)]
    return world


def _local_matrix(node: dict) -> Float[np.ndarray, "4 4"]:
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    x, y, z, w = node.get("rotation", (0, 0, 0, 1))
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.array(node.get("scale", (1, 1, 1)), np.float64)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix


def _vertex_colors(gltf: Gltf, primitive: dict) -> Float[np.ndarray, "vertices 3"] | None:
    """COLOR_0 as linear light, or None."""
    index = primitive["attributes"].get("COLOR_0")
    if index is None:
        return None
    colors = gltf.accessor(index)[:, :3]
    if colors.dtype.kind != "f":  # The standard demands `normalized`; some writers forget it.
        colors = colors / np.iinfo(colors.dtype).max
    return colors.astype(np.float32)


def _cloud(gltf: Gltf, primitive: dict, positions: Float[np.ndarray, "vertices 3"]) -> Cloud:
    points = positions.astype(np.float32)
    colors = _vertex_colors(gltf, primitive)
    if colors is None:
        colors = np.broadcast_to(GREY_LINEAR, points.shape)
    return Cloud(points, linear_to_bytes(colors))


def _part(
    gltf: Gltf,
    primitive: dict,
    mode: int,
    positions: Float[np.ndarray, "vertices 3"],
    material: Material | None,
) -> Part:
    if "indices" in primitive:
        indices = gltf.accessor(primitive["indices"])[:, 0].astype(np.int64)
    else:
        indices = np.arange(len(positions))
    faces = _faces(indices, mode)
    triangles = positions[faces].astype(np.float32)
    vertex_colors = _vertex_colors(gltf, primitive)
    if material is None:
        colors = np.broadcast_to(GREY_LINEAR, triangles.shape)
        return Part(triangles, colors if vertex_colors is None else vertex_colors[faces])
    colors = np.broadcast_to(material.color, triangles.shape)
    if vertex_colors is not None and not material.unreadable:
        colors = colors * vertex_colors[faces]
    uv_index = primitive["attributes"].get(f"TEXCOORD_{material.uv_set}")
    if material.texture is None or uv_index is None:
        return Part(triangles, colors)
    uv = gltf.accessor(uv_index).astype(np.float64) @ material.uv_matrix[:2, :2].T
    uv = uv + material.uv_matrix[:2, 2]
    return Part(triangles, colors, uv[faces].astype(np.float32), material.texture)


def _faces(indices: Int[np.ndarray, "n"], mode: int) -> Int[np.ndarray, "faces 3"]:
    if mode == _TRIANGLES:
        return indices[: len(indices) // 3 * 3].reshape(-1, 3)
    if mode == _FAN:
        first = np.broadcast_to(indices[:1], (max(len(indices) - 2, 0),))
        return np.stack([first, indices[1:-1], indices[2:]], axis=1)
    # Every second triangle of a strip is wound the other way, which matters to nothing here:
    # areas, sampling and shading are two-sided.
    return np.stack([indices[:-2], indices[1:-1], indices[2:]], axis=1)


def _material(gltf: Gltf, entry: dict, notes: list[str]) -> Material:
    pbr = entry.get("pbrMetallicRoughness", {})
    factor, texture = pbr.get("baseColorFactor"), pbr.get("baseColorTexture")
    glossy = entry.get("extensions", {}).get("KHR_materials_pbrSpecularGlossiness")
    if glossy is not None:
        factor, texture = glossy.get("diffuseFactor"), glossy.get("diffuseTexture")
    color = np.clip(np.array((factor or (1, 1, 1))[:3], np.float32), 0, 1)
    opacity = factor[3] if factor and len(factor) > 3 else 1.0
    invisible = _is_invisible(entry, opacity)
    if texture is None or invisible:
        return Material(color, invisible=invisible)
    try:
        image = _texture(gltf, texture["index"], _cut_below(entry, opacity))
    except (AssetError, ValueError, LookupError) as error:
        name = entry.get("name", "without a name")
        notes.append(f"texture of material '{name}' is unreadable ({error}); grey instead")
        return Material(GREY_LINEAR, unreadable=True)
    transform = texture.get("extensions", {}).get("KHR_texture_transform", {})
    uv_set = transform.get("texCoord", texture.get("texCoord", 0))
    return Material(color, image, uv_set=uv_set, uv_matrix=_uv_matrix(transform))


def _uv_matrix(transform: dict) -> Float[np.ndarray, "3 3"]:
    """KHR_texture_transform: translation x rotation x scale."""
    cos, sin = np.cos(transform.get("rotation", 0.0)), np.sin(transform.get("rotation", 0.0))
    (u, v), (su, sv) = transform.get("offset", (0, 0)), transform.get("scale", (1, 1))
    return np.array([[cos * su, sin * sv, u], [-sin * su, cos * sv, v], [0, 0, 1]], np.float64)


def _is_invisible(material: dict, opacity: float) -> bool:
    """Whether nothing is seen of a material of this opacity, whatever its texture."""
    mode = material.get("alphaMode", "OPAQUE")
    if mode == "MASK":
        return opacity < material.get("alphaCutoff", 0.5)
    return mode == "BLEND" and opacity <= 0


def _cut_below(material: dict, opacity: float) -> float:
    """The opacity below which a material's texture is a hole, given that of its colour."""
    mode = material.get("alphaMode", "OPAQUE")
    if mode == "MASK":
        return material.get("alphaCutoff", 0.5) / max(opacity, 1e-6)
    return 0.5 if mode == "BLEND" else 0.0


def _texture(gltf: Gltf, index: int, cut_below: float) -> Texture:
    texture = gltf.tree["textures"][index]
    source = texture.get("source")
    webp = texture.get("extensions", {}).get("EXT_texture_webp")
    if webp is not None:
        source = webp["source"]
    if source is None:
        raise ValueError("it has no PNG, JPEG or WebP image")
    image = gltf.tree["images"][source]
    if "bufferView" in image:
        data, name = gltf.view(image["bufferView"]), f"its image {source}"
    else:
        data, name = read_uri(gltf.companions, image["uri"]), image["uri"][:80]
    sampler = {}
    if "sampler" in texture:
        sampler = gltf.tree["samplers"][texture["sampler"]]
    wrap = tuple(_WRAP[sampler.get(axis, 10497)] for axis in ("wrapS", "wrapT"))
    return decode_texture(data, name, wrap=wrap, cut_below=cut_below)
