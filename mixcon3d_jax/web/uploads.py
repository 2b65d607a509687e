"""Files that were dropped on the page -> one asset."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from mixcon3d_jax.assets import SUFFIXES
from mixcon3d_jax.assets.load import UpAxis
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.inference.inputs import AssetFile, known_axis

# What assets refer to: materials, buffers, textures.
_COMPANIONS = (".mtl", ".bin", ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tga")
ACCEPTED = (*SUFFIXES, *_COMPANIONS)


class UploadError(InputError):
    """What was dropped on the page can't be used."""


def dropped_asset(paths: Sequence[str | Path], up_axis: UpAxis | None, folder: Path) -> AssetFile:
    """The mesh or point cloud among files, which are put into one folder.

    Args:
      paths: a mesh or point cloud, and the files that it refers to.
      up_axis: the axis that points up in it; None leaves it to formats that define one.
      folder: an empty one.

    Raises:
      UploadError: if there is no asset among them or more than one, or its axis is not known.
    """
    files = [Path(path) for path in paths]
    assets = [file for file in files if file.suffix.lower() in SUFFIXES]
    if not assets:
        names = ", ".join(file.name for file in files) or "nothing"
        raise UploadError(f"{names}: no mesh or point cloud; drop one of {', '.join(SUFFIXES)}")
    if len(assets) > 1:
        names = ", ".join(file.name for file in assets)
        raise UploadError(f"{names}: drop one shape at a time, with its textures if it has any")
    axis = up_axis or known_axis(assets[0])
    if axis is None:
        raise UploadError(
            f"{assets[0].name}: files of this kind don't say which axis points up; choose y or z"
        )
    for file in files:
        shutil.copyfile(file, folder / file.name)
    return AssetFile(assets[0].name, folder / assets[0].name, axis, folder)
