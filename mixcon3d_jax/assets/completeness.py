"""Is a file whole?  trimesh takes what is left of some truncated ones without a word."""

import struct
from pathlib import Path


def check_whole(path: Path) -> None:
    """Raises ValueError for an OBJ, PLY or STL file that ends too early, as far as that shows.

    An OBJ file says nowhere how long it is: one that ends behind a whole line passes.  A binary
    PLY file is left to its parser.
    """
    kind = path.suffix.lower()
    if kind == ".obj":
        _check_obj(path.read_text(encoding="utf-8", errors="replace"))
    elif kind == ".ply":
        _check_ply(path.read_bytes())
    elif kind == ".stl":
        _check_stl(path.read_bytes())


def _check_obj(text: str) -> None:
    """The last line of an OBJ file is a whole vertex or face, if it is one of either."""
    lines = text.replace("\\\r\n", " ").replace("\\\n", " ").splitlines()
    words = next((line.split() for line in reversed(lines) if line.split("#")[0].strip()), [])
    if not words:
        return
    if words[0] == "v" and len(words) < 4:
        raise ValueError(f"its last vertex has {len(words) - 1} of 3 coordinates")
    if words[0] == "f":
        # `1/2/3`, `1//3`, `1/2`, `1`: all corners of a face have the same form.
        forms = [[bool(index) for index in corner.split("/")] for corner in words[1:]]
        if len(forms) < 3 or forms[-1] != forms[0]:
            raise ValueError("its last face is incomplete")


def _check_ply(data: bytes) -> None:
    """A text PLY file has a line for each element that its header counts."""
    header, found, body = data.partition(b"end_header")
    head = [line.split() for line in header.decode("latin-1").splitlines()]
    if not found or not any(words[:2] == ["format", "ascii"] for words in head):
        return
    elements: list[tuple[str, int, list[str]]] = []
    for words in head:
        if words[:1] == ["element"]:
            elements.append((words[1], int(words[2]), []))
        elif words[:1] == ["property"]:
            elements[-1][2].append(words[1])
    lines = [line.split() for line in body.decode("latin-1").splitlines() if line.strip()]
    expected = [(name, kinds) for name, count, kinds in elements if kinds for _ in range(count)]
    if len(lines) < len(expected):
        counts = ", ".join(f"{count} {name}" for name, count, _ in elements)
        raise ValueError(f"its header says {counts}; {len(lines)} lines are there")
    if expected:
        name, kinds = expected[-1]
        if len(lines[len(expected) - 1]) < _ply_words(lines[len(expected) - 1], kinds):
            raise ValueError(f"its last {name} is incomplete")


def _ply_words(words: list[str], kinds: list[str]) -> int:
    """How many words a line of a text PLY file has, by its element's kinds of properties."""
    count = 0
    for kind in kinds:
        if kind == "list" and count < len(words):
            count += int(float(words[count]))
        count += 1
    return count


def _check_stl(data: bytes) -> None:
    """A binary STL file has 50 bytes for each triangle; a text one ends with `endsolid`."""
    if len(data) >= 84 and len(data) == 84 + 50 * struct.unpack_from("<I", data, 80)[0]:
        return
    if data.lstrip().startswith(b"solid") and b"endsolid" not in data[-1024:]:
        raise ValueError("it has no 'endsolid' at its end")
