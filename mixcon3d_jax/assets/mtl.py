"""OBJ material libraries (MTL)."""

import numpy as np

from mixcon3d_jax.assets.asset import AssetError
from mixcon3d_jax.assets.color import GREY_LINEAR, srgb_to_linear
from mixcon3d_jax.assets.companions import Companions
from mixcon3d_jax.assets.material import Material
from mixcon3d_jax.assets.texture import decode_texture

# Options of `map_Kd` and how many values each takes at most (MTL specification, section 5).
_MAP_OPTIONS = {"-blendu": 1, "-blendv": 1, "-boost": 1, "-mm": 2, "-o": 3, "-s": 3, "-t": 3}
_MAP_OPTIONS |= {"-texres": 1, "-clamp": 1, "-bm": 1, "-imfchan": 1, "-type": 1, "-cc": 1}


def obj_materials(companions: Companions, notes: list[str]) -> dict[str, Material]:
    """The materials of the libraries that an OBJ file names (`mtllib`), by name.

    `Kd` is taken as sRGB as it is, since that is how programs write it, and multiplies the
    texture; a black `Kd` over a texture is a widespread exporter's fault and is ignored.  What
    cannot be read is grey, with a line in `notes`.
    """
    materials: dict[str, Material] = {}
    text = companions.asset.read_text(encoding="utf-8", errors="replace")
    for line in text.splitlines():
        key, _, names = line.strip().replace("\t", " ").partition(" ")
        if key == "mtllib":
            for library in _libraries(companions, names, notes):
                materials |= _parse(companions, library.decode("utf-8", errors="replace"), notes)
    return materials


def _libraries(companions: Companions, names: str, notes: list[str]) -> list[bytes]:
    """The files that a `mtllib` line names: one with spaces in its name, or several."""
    try:
        return [companions.read(names)]
    except AssetError as error:
        whole = error
    found, errors = [], []
    for name in names.split():
        try:
            found.append(companions.read(name))
        except AssetError as error:
            errors.append(error)
    for error in errors if found else [whole]:
        notes.append(f"material library is unreadable ({error}); grey instead")
    return found


def _parse(companions: Companions, text: str, notes: list[str]) -> dict[str, Material]:
    entries: dict[str, dict[str, str]] = {}
    entry: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.strip().replace("\t", " ").partition(" ")
        if key.lower() == "newmtl":
            entry = entries.setdefault(value.strip(), {})
        else:
            entry[key.lower()] = value.strip()
    return {name: _material(companions, name, entry, notes) for name, entry in entries.items()}


def _material(
    companions: Companions, name: str, entry: dict[str, str], notes: list[str]
) -> Material:
    diffuse = _diffuse(entry.get("kd"))
    if "map_kd" not in entry:
        color = GREY_LINEAR if diffuse is None else diffuse
        return Material(color)
    try:
        file_name = _map_name(entry["map_kd"])
        # A texture that is named as its own opacity is cut out by its alpha channel.
        cut_below = 0.5 if _map_name(entry.get("map_d", "")) == file_name else 0.0
        texture = decode_texture(companions.read(file_name), file_name, cut_below=cut_below)
    except (AssetError, ValueError) as error:
        notes.append(f"texture of material '{name}' is unreadable ({error}); grey instead")
        return Material(GREY_LINEAR, unreadable=True)
    if diffuse is None or not diffuse.any():
        diffuse = np.ones(3, np.float32)
    return Material(diffuse, texture)


def _diffuse(value: str | None) -> np.ndarray | None:
    """`Kd r g b` (or `Kd r`, for all three) as linear light; None where absent or malformed."""
    try:
        numbers = [float(word) for word in (value or "").split()]
    except ValueError:
        return None
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) < 3:
        return None
    return srgb_to_linear(np.clip(np.array(numbers[:3]), 0, 1)).astype(np.float32)


def _map_name(value: str) -> str:
    """The file name behind the options of a `map_Kd` line; names may contain spaces."""
    words = value.split()
    if not words or words[0] not in _MAP_OPTIONS:
        return value
    while words and words[0] in _MAP_OPTIONS:
        most = _MAP_OPTIONS[words.pop(0)]
        taken = 0
        # Vector options take one to three numbers; the file name is the first word that is none.
        while words and taken < most and (taken == 0 or _is_number(words[0])):
            words.pop(0)
            taken += 1
    return " ".join(words)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
