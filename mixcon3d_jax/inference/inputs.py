"""What a user names on the command line -> the files of single assets."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mixcon3d_jax.assets import SUFFIXES
from mixcon3d_jax.assets.load import UpAxis
from mixcon3d_jax.assets.manifest import read_manifest
from mixcon3d_jax.buckets import is_remote
from mixcon3d_jax.errors import InputError

# Formats whose standard says which axis points up.
_KNOWN_AXES: dict[str, UpAxis] = {".glb": "y", ".gltf": "y"}
_MANIFEST = ".json"


@dataclass(frozen=True)
class AssetFile:
    """One asset.

    Attributes:
      id: what to call it: its path as it was given, or its id in the manifest.
      path: of the file.
      up_axis: the axis that points up in it.
      root: the folder that the files it refers to must lie in; see `load_asset`.
      class_name: what the manifest says that it is; empty without one.
    """

    id: str
    path: Path
    up_axis: UpAxis
    root: Path | None = None
    class_name: str = ""


def find_assets(paths: Iterable[str | Path], up_axis: UpAxis | None) -> list[AssetFile]:
    """The assets that paths name, in order; a file that is not there is among them.

    Args:
      paths: files; folders, for all meshes and point clouds in them, sorted; and manifests
        (`.json`, see `read_manifest`).
      up_axis: the axis that points up in all of them; None leaves it to formats that define one.

    Raises:
      InputError: if there is none, or the axis of one is not known.
    """
    found: list[AssetFile] = []
    for given in paths:
        if is_remote(str(given)):
            raise InputError(f"{given}: copy it to this machine first")
        path = Path(given)
        if path.is_dir():
            found += _in_folder(path, up_axis)
        elif path.suffix.lower() == _MANIFEST:
            found += [
                AssetFile(e.id, e.path, _axis(e.path, up_axis), path.parent, e.class_name)
                for e in read_manifest(path)
            ]
        else:
            found.append(AssetFile(str(path), path, _axis(path, up_axis)))
    if not found:
        raise InputError("no files were given; name meshes, point clouds, folders or a manifest")
    return found


def _in_folder(folder: Path, up_axis: UpAxis | None) -> list[AssetFile]:
    inside = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not inside:
        raise InputError(f"{folder}: no mesh or point cloud in it ({', '.join(SUFFIXES)})")
    return [AssetFile(str(path), path, _axis(path, up_axis)) for path in inside]


def known_axis(path: Path) -> UpAxis | None:
    """The axis that points up in all files of this format, where its standard says it."""
    return _KNOWN_AXES.get(path.suffix.lower())


def _axis(path: Path, up_axis: UpAxis | None) -> UpAxis:
    known = up_axis or known_axis(path)
    if known is None:
        raise InputError(
            f"{path}: files of this kind don't say which axis points up; say --up-axis=y or "
            "--up-axis=z (up_axis= in Python)"
        )
    if known not in ("y", "z"):
        raise InputError(f"up axis {known!r}: it must be 'y' or 'z'")
    return known
