"""Hand-made glTF files, whose content is known byte by byte."""

import base64
import io
import json
import struct

import numpy as np
from PIL import Image

_COMPONENT = {"b": 5120, "B": 5121, "h": 5122, "H": 5123, "I": 5125, "f": 5126}
_TYPE = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}

# One right triangle of area 1/2 in the plane z = 0.
TRIANGLE = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)


def make_gltf(attributes, *, primitive=None, nodes=None, normalized=(), **tree):
    """A one-mesh glTF tree and its buffer; `attributes` maps names (or "indices") to arrays."""
    buffer, views, accessors = b"", [], []
    primitive = {"attributes": {}, **(primitive or {})}
    for name, values in attributes.items():
        values = np.asarray(values)
        width = 1 if values.ndim == 1 else values.shape[1]
        views.append({"buffer": 0, "byteOffset": len(buffer), "byteLength": values.nbytes})
        accessor = {
            "bufferView": len(views) - 1,
            "componentType": _COMPONENT[values.dtype.char],
            "count": len(values),
            "type": _TYPE[width],
            "normalized": name in normalized,
        }
        accessors.append(accessor)
        buffer += values.tobytes() + b"\0" * (-values.nbytes % 4)
        target = primitive if name == "indices" else primitive["attributes"]
        target[name] = len(accessors) - 1
    tree = {
        "asset": {"version": "2.0"},
        "buffers": [{"byteLength": len(buffer)}],
        "bufferViews": views,
        "accessors": accessors,
        "meshes": [{"primitives": [primitive]}],
        "nodes": nodes or [{"mesh": 0}],
        **tree,
    }
    return tree, buffer


def write_glb(path, tree, buffer):
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<2I", len(text), 0x4E4F534A) + text
    chunks += struct.pack("<2I", len(buffer), 0x004E4942) + buffer
    path.write_bytes(struct.pack("<3I", 0x46546C67, 2, 12 + len(chunks)) + chunks)
    return path


def png_bytes(pixels):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def png_uri(pixels):
    return "data:image/png;base64," + base64.b64encode(png_bytes(pixels)).decode()


def textured(uri, *, sampler=None, transform=None, factor=None):
    """The `materials`, `textures`, `images` of one material with a base colour texture."""
    texture = {"index": 0}
    if transform is not None:
        texture["extensions"] = {"KHR_texture_transform": transform}
    pbr = {"baseColorTexture": texture}
    if factor is not None:
        pbr["baseColorFactor"] = factor
    return {
        "materials": [{"name": "paint", "pbrMetallicRoughness": pbr}],
        "textures": [{"source": 0, "sampler": 0}],
        "images": [{"uri": uri}],
        "samplers": [sampler or {}],
    }
