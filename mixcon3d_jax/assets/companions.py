"""Files that an asset refers to by name: materials, textures, buffers."""

import functools
from pathlib import Path
from urllib.parse import unquote

from mixcon3d_jax.assets.asset import AssetError


class Companions:
    """The files beside an asset, read by the names that the asset gives them.

    Attributes:
      asset: the asset's own file.
      root: the folder that they must lie in; by default the one that the asset's folder lies in.
      files: what was read, and what was looked for in vain; an asset is the same as before when it
        and all of these are.
    """

    def __init__(self, asset: Path, root: Path | None = None):
        self.asset = asset
        self._root = root
        self.files: list[Path] = []

    @functools.cached_property
    def root(self) -> Path:
        """Found out when it is needed: most assets refer to nothing."""
        return (self._root or self.asset.parent.resolve().parent).resolve()

    def read(self, name: str) -> bytes:
        """Reads the file that the asset calls `name`.

        Names are relative to the asset's folder.  They may be URL-quoted (glTF) or have
        backslashes (OBJ from Windows); where the path leads nowhere or out of `root`, a file of
        that name right beside the asset is taken, since packs are often flattened.

        Raises:
          AssetError: when there is no such file there, or it cannot be read.
        """
        plain = unquote(name.strip()).replace("\\", "/")
        outside = False
        for candidate in dict.fromkeys((name.strip(), plain, plain.rsplit("/", 1)[-1])):
            path = self.asset.parent / candidate
            try:
                inside = path.resolve().is_relative_to(self.root)
                if Path(candidate).is_absolute() or not inside:
                    outside = True
                    continue
                if path not in self.files:
                    self.files.append(path)
                if candidate and path.is_file():
                    return path.read_bytes()
            except (OSError, ValueError) as error:  # No permission; a name that none can have.
                raise AssetError(
                    f"{self.asset}: it refers to '{name[:80]}', which cannot be read ({error}); "
                    "put that file beside it"
                ) from error
        reason = f"lies outside {self.root}" if outside else "is missing"
        raise AssetError(
            f"{self.asset}: it refers to '{name}', which {reason}; put that file beside it"
        )
