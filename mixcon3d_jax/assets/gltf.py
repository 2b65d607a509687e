"""glTF 2.0 files (GLB, or JSON with files beside it): the container and its binary data.

trimesh reads glTF too, but ignores normalised integers, second texture coordinates and exact
colour factors, and hides why a texture is missing; what preparation needs of the format is small.
Source: Khronos glTF 2.0 specification, sections 3.6 (buffers, accessors) and 4 (GLB).
"""

import base64
import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mixcon3d_jax.assets.asset import AssetError
from mixcon3d_jax.assets.companions import Companions

_COMPONENT = {
    5120: np.int8,
    5121: np.uint8,
    5122: np.int16,
    5123: np.uint16,
    5125: np.uint32,
    5126: np.float32,
}
_WIDTH = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_GLB_MAGIC, _JSON_CHUNK, _BINARY_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942

# Extensions under which the plain buffers do not hold the geometry.
_COMPRESSION = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression")


@dataclass(frozen=True)
class Gltf:
    """A glTF file: its JSON tree, and the bytes that belong to it."""

    path: Path
    companions: Companions
    tree: dict
    buffers: list[bytes]

    def view(self, index: int) -> bytes:
        """The bytes of a buffer view."""
        view = self.tree["bufferViews"][index]
        start = view.get("byteOffset", 0)
        data = self.buffers[view["buffer"]][start : start + view["byteLength"]]
        if len(data) != view["byteLength"]:
            raise AssetError(
                f"{self.path}: truncated: buffer view {index} needs {view['byteLength']} bytes, "
                f"{len(data)} are there; copy or export the file again"
            )
        return data

    def accessor(self, index: int) -> np.ndarray:
        """An accessor's values, (count, width); normalised integers as floats."""
        accessor = self.tree["accessors"][index]
        dtype = np.dtype(_COMPONENT[accessor["componentType"]]).newbyteorder("<")
        width, count = _WIDTH[accessor["type"]], accessor["count"]
        if "bufferView" in accessor:
            values = self._strided(accessor, dtype, width, count)
        else:
            values = np.zeros((count, width), dtype)
        if "sparse" in accessor:
            values = self._with_sparse(values, accessor["sparse"], dtype, width)
        if accessor.get("normalized"):
            values = np.maximum(values / np.float64(np.iinfo(dtype).max), -1.0)
        return values

    def _strided(self, accessor: dict, dtype: np.dtype, width: int, count: int) -> np.ndarray:
        stride = self.tree["bufferViews"][accessor["bufferView"]].get("byteStride")
        data = self.view(accessor["bufferView"])
        return np.ndarray(
            (count, width),
            dtype,
            data,
            offset=accessor.get("byteOffset", 0),
            strides=(stride or width * dtype.itemsize, dtype.itemsize),
        )

    def _with_sparse(
        self, values: np.ndarray, sparse: dict, dtype: np.dtype, width: int
    ) -> np.ndarray:
        count = sparse["count"]
        index_type = np.dtype(_COMPONENT[sparse["indices"]["componentType"]]).newbyteorder("<")
        rows = self._strided(sparse["indices"], index_type, 1, count)[:, 0]
        values = values.copy()
        values[rows] = self._strided(sparse["values"], dtype, width, count)
        return values


def read_gltf(companions: Companions) -> Gltf:
    """Reads a .glb or .gltf file and the buffers it refers to.

    Raises:
      AssetError: when the file is truncated, is no glTF 2.0, is compressed, or lacks a buffer.
    """
    path = companions.asset
    data = path.read_bytes()
    if data[:4] == b"glTF":
        text, binary = _split_glb(path, data)
    elif path.suffix.lower() == ".glb":
        raise AssetError(f"{path}: not a GLB file: it does not begin with 'glTF'; export it again")
    else:
        text, binary = data, None
    try:
        tree = json.loads(text)
    except ValueError as error:
        raise AssetError(
            f"{path}: its glTF JSON is broken or truncated ({error}); export it again"
        ) from error
    if not isinstance(tree, dict) or not str(tree.get("asset", {}).get("version")).startswith("2"):
        raise AssetError(f"{path}: not a glTF 2 file; export it again as glTF 2.0")
    for extension in _COMPRESSION:
        if extension in tree.get("extensionsRequired", ()):
            raise AssetError(
                f"{path}: its geometry is compressed with {extension}, which is not supported; "
                "export it without compression"
            )
    buffers = [_buffer(companions, entry, binary) for entry in tree.get("buffers", ())]
    return Gltf(path, companions, tree, buffers)


def _split_glb(path: Path, data: bytes) -> tuple[bytes, bytes | None]:
    """The JSON and the binary chunk of a GLB file."""
    if len(data) < 20:
        raise AssetError(f"{path}: truncated: {len(data)} bytes; copy or export the file again")
    _, version, length = struct.unpack_from("<3I", data)
    if version != 2:
        raise AssetError(f"{path}: glTF version {version}; export it again as glTF 2.0")
    if length > len(data):
        raise AssetError(
            f"{path}: truncated: its header says {length} bytes, {len(data)} are there; "
            "copy or export the file again"
        )
    chunks: dict[int, bytes] = {}
    start = 12
    while start + 8 <= length:
        size, kind = struct.unpack_from("<2I", data, start)
        chunks.setdefault(kind, data[start + 8 : start + 8 + size])
        start += 8 + size
    if _JSON_CHUNK not in chunks:
        raise AssetError(f"{path}: it has no JSON chunk; export it again")
    return chunks[_JSON_CHUNK], chunks.get(_BINARY_CHUNK)


def _buffer(companions: Companions, entry: dict, binary: bytes | None) -> bytes:
    if "uri" in entry:
        return read_uri(companions, entry["uri"])
    if binary is None:
        raise AssetError(
            f"{companions.asset}: its binary chunk is missing; copy or export the file again"
        )
    return binary


def read_uri(companions: Companions, uri: str) -> bytes:
    """The bytes behind a glTF `uri`: inline base64, or a file beside the asset."""
    if uri.startswith("data:"):
        return base64.b64decode(uri.partition(",")[2])
    return companions.read(uri)
