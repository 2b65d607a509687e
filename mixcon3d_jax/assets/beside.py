"""Files that an asset refers to by name: materials, textures, buffers."""

from pathlib import Path
from urllib.parse import unquote

from mixcon3d_jax.assets.asset import AssetError


def read_beside(asset: Path, name: str) -> bytes:
    """Reads the file that `asset` calls `name`.

    Names are relative to the asset's folder.  They may be URL-quoted (glTF) or have backslashes
    (OBJ from Windows); where the path leads nowhere, a file of that name right beside the asset
    is taken, since packs are often flattened.

    Raises:
      AssetError: when there is no such file.
    """
    plain = unquote(name.strip()).replace("\\", "/")
    candidates = [name.strip(), plain, plain.rsplit("/", 1)[-1]]
    for candidate in candidates:
        path = asset.parent / candidate
        if candidate and path.is_file():
            return path.read_bytes()
    raise AssetError(f"{asset}: it refers to '{name}', which is missing; put that file beside it")
