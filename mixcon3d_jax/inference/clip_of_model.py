"""The frozen CLIP that a model was trained with: found, and checked to be the one."""

import dataclasses
from pathlib import Path

from jax.sharding import Mesh

from mixcon3d_jax.errors import InputError
from mixcon3d_jax.exchange.snapshot import About
from mixcon3d_jax.models.clip import NUMERICS
from mixcon3d_jax.models.clip_config import ClipError
from mixcon3d_jax.models.clip_folder import ClipFolder, clip_id
from mixcon3d_jax.models.clip_hub import SMALL, small_clip_folder


@dataclasses.dataclass(frozen=True)
class ClipChoice:
    """Which CLIP to open.

    Attributes:
      name: see `find_clip`; None for the one that the model names.
      id: how data sets name it; None for what it says itself.
      dtype: of its towers, a key of `NUMERICS`.
    """

    name: str | None = None
    id: str | None = None
    dtype: str = "float32"


def open_clip_of(about: About, choice: ClipChoice, mesh: Mesh) -> ClipFolder:
    """Opens the CLIP of a model, on the devices of a mesh.

    Raises:
      InputError: if it can't be opened, or is another one than the model was trained with.
    """
    if choice.dtype not in NUMERICS:
        raise InputError(f"clip dtype {choice.dtype!r}: say one of {', '.join(NUMERICS)}")
    name = choice.name or _named_by(about)
    try:
        clip = ClipFolder.load(name, NUMERICS[choice.dtype], mesh)
    except ClipError as error:
        if choice.name:
            raise
        raise ClipError(
            f"the model was trained with CLIP {about.clip_id!r}, which can't be opened: {error}  "
            "Or give its folder: --clip=FOLDER (clip= in Python)."
        ) from error
    clip = dataclasses.replace(clip, id=choice.id or clip.id)
    size = about.config["clip"]["embedding_size"]
    if clip.embedding_size != size:
        raise InputError(
            f"the model was trained with CLIP {about.clip_id!r}, whose embeddings have {size} "
            f"numbers, but those of {name} ({clip.id!r}) have {clip.embedding_size}; give the "
            "model's CLIP"
        )
    if clip.id != about.clip_id:
        raise InputError(
            f"the model was trained with CLIP {about.clip_id!r}, but {name} is {clip.id!r}; give "
            f"the model's CLIP, or say --clip-id={about.clip_id} (clip_id= in Python) if it is "
            "that one under another name"
        )
    return clip


def _named_by(about: About) -> str:
    if about.clip_id == clip_id(small_clip_folder()):
        return SMALL
    trained_from = about.config["clip"].get("path") or ""
    return trained_from if Path(trained_from).is_dir() and trained_from else about.clip_id
