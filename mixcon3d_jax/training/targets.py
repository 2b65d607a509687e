"""Where a run's targets come from: the shards, or a frozen CLIP that embeds in the step."""

import dataclasses
import functools

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Int
from ml_collections import ConfigDict

from mixcon3d_jax.data.sampling import TowerInputs
from mixcon3d_jax.models.clip import NUMERICS
from mixcon3d_jax.models.clip_folder import ClipFolder
from mixcon3d_jax.models.variables import Tree
from mixcon3d_jax.training.run_config import ConfigError
from mixcon3d_jax.training.towers import Towers


@dataclasses.dataclass(frozen=True)
class TargetClip:
    """The frozen CLIP of a run.

    Attributes:
      towers: what is computed.
      weights: shared by the chips of the mesh.
      inputs: how renders and texts are brought to the towers.
      fingerprint: of its files.
    """

    towers: Towers
    weights: Tree
    inputs: TowerInputs
    fingerprint: str


def open_target_clip(config: ConfigDict, mesh: Mesh) -> TargetClip | None:
    """The CLIP that embeds in the step, or None if targets come from the shards.

    Raises:
      ClipError: it can't be read.
      ConfigError: its embeddings are of another size than the config says.
    """
    if config.targets == "shards":
        return None
    name = config.clip.path or config.clip.id
    folder = ClipFolder.load(name, NUMERICS[config.clip.dtype], mesh)
    if folder.embedding_size != config.clip.embedding_size:
        raise ConfigError(
            f"config.clip.embedding_size is {config.clip.embedding_size}, but the embeddings of "
            f"{name} are of size {folder.embedding_size}; give the CLIP that the data were "
            "prepared with (config.clip.path)"
        )

    @functools.lru_cache(maxsize=1 << 16)
    def ids(text: str) -> Int[np.ndarray, "context"]:
        return folder.token_ids([text])[0]

    towers, weights = Towers.of(folder.clip, folder.images.to_tower, config.clip.images_at_once)
    return TargetClip(towers, weights, TowerInputs(folder.images.pixels, ids), folder.fingerprint())
