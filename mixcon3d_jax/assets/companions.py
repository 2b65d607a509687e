"""Files that an asset refers to by name: materials, textures, buffers."""

from pathlib import Path
from urllib.parse import unquote

from mixcon3d_jax.assets.asset import AssetError


class Companions:
    """The files beside an asset, read by the names that the asset gives them.

    Attributes:
      asset: the asset's own file.
      files: what was read, and what was looked for in vain; an asset is the same as before when it
        and all of these are.
    """

    def __init__(self, asset: Path):
        self.asset = asset
        self.files: list[Path] = []

    def read(self, name: str) -> bytes:
        """Reads the file that the asset calls `name`.

        Names are relative to the asset's folder.  They may be URL-quoted (glTF) or have
        backslashes (OBJ from Windows); where the path leads nowhere, a file of that name right
        beside the asset is taken, since packs are often flattened.

        Raises:
          AssetError: when there is no such file.
        """
        plain = unquote(name.strip()).replace("\\", "/")
        for candidate in dict.fromkeys((name.strip(), plain, plain.rsplit("/", 1)[-1])):
            path = self.asset.parent / candidate
            if path not in self.files:
                self.files.append(path)
            if candidate and path.is_file():
                return path.read_bytes()
        raise AssetError(
            f"{self.asset}: it refers to '{name}', which is missing; put that file beside it"
        )
