"""OFF files: one line for each vertex and face, with colours of either where they are given.

Source: Geomview's manual, "OFF Files"; text files of 3D vertices.
"""

import itertools
import re
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from mixcon3d_jax.assets.asset import Asset, AssetError, Part
from mixcon3d_jax.assets.color import GREY_LINEAR, bytes_to_linear, to_bytes

# Vertices may have texture coordinates (ST), colours (C) and normals (N).  ModelNet's files have
# the counts right behind the keyword, without a space.
_KEYWORD = re.compile(r"(ST)?(C)?(N)?OFF")

Words = list[list[str]]


def read_off(path: Path) -> Asset:
    """Reads an OFF file; colours are sRGB as they are, those of faces before those of vertices.

    Faces of more than three corners are split into a fan.  Faces that name a colour by its number
    in a palette, which the format leaves to the program, are grey.

    Raises:
      AssetError: when the file holds less than its header says, or is binary or 4-dimensional.
      ValueError: when it is no OFF file.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    text = "\n".join(line for line in lines if line)
    keyword = _KEYWORD.match(text)
    if keyword is None:
        raise ValueError("it does not begin with 'OFF'")
    body: Words = [line.split() for line in text[keyword.end() :].strip().splitlines()]
    if not body or body[0][0] == "BINARY":
        raise AssetError(f"{path}: a binary or empty OFF file; export it as a text file")
    vertices, faces = _split(path, body)
    has_colors, has_normals = bool(keyword[2]), bool(keyword[3])
    positions = np.array([words[:3] for words in vertices], np.float64).reshape(-1, 3)
    corners, owner = _fans(faces)
    if corners.size and (corners.min() < 0 or corners.max() >= len(positions)):
        raise ValueError("a face refers to a vertex that is not there")
    triangles = positions.astype(np.float32)[corners]
    colors = _face_colors(faces)
    if colors is not None:
        colors = np.broadcast_to(colors[owner, None], triangles.shape)
    elif has_colors:
        start = 6 if has_normals else 3
        colors = _colors([words[start : start + 3] for words in vertices])[corners]
    else:
        colors = np.broadcast_to(GREY_LINEAR, triangles.shape)
    return Asset((Part(triangles, colors),))


def _split(path: Path, body: Words) -> tuple[Words, Words]:
    """The lines of vertices and those of faces, as many as the header says."""
    num_vertices, num_faces = int(body[0][0]), int(body[0][1])
    found = len(body) - 1
    if found < num_vertices + num_faces:
        raise AssetError(
            f"{path}: truncated: its header says {num_vertices} vertices and {num_faces} faces, in "
            f"all {num_vertices + num_faces} lines; {found} are there; copy or export it again"
        )
    vertices = body[1 : 1 + num_vertices]
    faces = body[1 + num_vertices : 1 + num_vertices + num_faces]
    if faces and len(faces[-1]) <= int(faces[-1][0]):
        raise AssetError(f"{path}: truncated: its last face is incomplete; copy or export it again")
    return vertices, faces


def _fans(faces: Words) -> tuple[np.ndarray, np.ndarray]:
    """Corner indices of triangles, (triangles, 3), and the face that each one belongs to."""
    triangles, owner = [], []
    for number, words in enumerate(faces):
        corners = [int(word) for word in words[1 : 1 + int(words[0])]]
        for second, third in itertools.pairwise(corners[1:]):
            triangles.append((corners[0], second, third))
            owner.append(number)
    return np.array(triangles, np.int64).reshape(-1, 3), np.array(owner, np.int64)


def _face_colors(faces: Words) -> Float32[np.ndarray, "faces 3"] | None:
    """Linear colours of faces, grey for those without one; None when no face has any."""
    given = [words[1 + int(words[0]) :][:3] for words in faces]
    colored = np.array([len(color) == 3 for color in given], bool)
    if not colored.any():
        return None
    colors = np.tile(GREY_LINEAR, (len(faces), 1))
    colors[colored] = _colors([color for color in given if len(color) == 3])
    return colors


def _colors(words: Words) -> Float32[np.ndarray, "colors 3"]:
    """Colours as they stand in the file (0..255, or 0..1 with a decimal point) as linear light."""
    values = np.array(words, np.float64).reshape(-1, 3)
    if all(word.isdecimal() for color in words for word in color):
        values = values.astype(np.int64)
    return bytes_to_linear(to_bytes(values))
