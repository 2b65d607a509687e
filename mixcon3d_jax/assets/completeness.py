"""Is a file whole?  trimesh takes what is left of some truncated ones without a word."""

import struct
from pathlib import Path


def check_whole(path: Path) -> None:
    """Raises ValueError for an OFF or STL file that ends too early."""
    kind = path.suffix.lower()
    if kind == ".off":
        _check_off(path.read_text(encoding="utf-8", errors="replace"))
    elif kind == ".stl":
        _check_stl(path.read_bytes())


def _check_off(text: str) -> None:
    """An OFF file has a line for each vertex and face that its header counts."""
    # The counts stand on the next line, or behind the keyword, in ModelNet's files without a space.
    keyword, found, rest = text.partition("OFF")
    if not found or len(keyword.strip()) > 4:
        raise ValueError("it does not begin with 'OFF'")
    lines = [line.split("#")[0].split() for line in rest.splitlines()]
    lines = [words for words in lines if words]
    vertices, faces = int(lines[0][0]), int(lines[0][1])
    body = lines[1 : 1 + vertices + faces]
    if len(body) < vertices + faces:
        raise ValueError(
            f"its header says {vertices} vertices and {faces} faces, in all "
            f"{vertices + faces} lines; {len(body)} are there"
        )
    if faces and len(body[-1]) <= int(body[-1][0]):
        raise ValueError("its last face is incomplete")


def _check_stl(data: bytes) -> None:
    """A binary STL file has 50 bytes for each triangle; a text one ends with `endsolid`."""
    if len(data) >= 84 and len(data) == 84 + 50 * struct.unpack_from("<I", data, 80)[0]:
        return
    if data.lstrip().startswith(b"solid") and b"endsolid" not in data[-1024:]:
        raise ValueError("it has no 'endsolid' at its end")
