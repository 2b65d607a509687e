"""Embeddings of many shapes, with what made them: the file that `embed` writes."""

import dataclasses
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

from mixcon3d_jax.errors import InputError
from mixcon3d_jax.inference.classification import unit_rows
from mixcon3d_jax.inference.tables import Table, write_table
from mixcon3d_jax.inference.weights import ModelWeights

if TYPE_CHECKING:
    from mixcon3d_jax.inference.files import EmbeddedFiles

_TEXTS = ("ids", "paths", "up_axes")
# What NumPy raises for other files; the last of a `.npy`, which holds a single array.
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, TypeError)
_ABOUT = ("mode", "clip_id", "model", "model_fingerprint")


class IndexFileError(InputError):
    """A file is no index, or one that does not fit the model."""


@dataclasses.dataclass(frozen=True)
class Index:
    """Shapes to search among.

    Attributes:
      ids: a name for each; what was given as its path, or its id in a manifest.
      paths: of the files.
      up_axes: the axis that points up in each file.
      embeddings: of length 1.
      mode: `point` or `fused`.
      clip_id: the CLIP of the model.
      model: what to call the model.
      model_fingerprint: the same for the same weights.
    """

    ids: np.ndarray
    paths: np.ndarray
    up_axes: np.ndarray
    embeddings: Float32[np.ndarray, "shapes D"]
    mode: str
    clip_id: str
    model: str
    model_fingerprint: str

    def __len__(self) -> int:
        return len(self.embeddings)

    @classmethod
    def of(cls, weights: ModelWeights, mode: str, found: "EmbeddedFiles") -> "Index":
        """What a model made of files."""
        return cls(
            ids=np.array([file.id for file in found.files]),
            paths=np.array([str(file.path) for file in found.files]),
            up_axes=np.array([file.up_axis for file in found.files]),
            embeddings=unit_rows(found.embeddings),
            mode=mode,
            clip_id=weights.about.clip_id,
            model=weights.description,
            model_fingerprint=weights.fingerprint,
        )


def write_index(path: Path, index: Index) -> None:
    """Writes an index as NPZ, JSON or CSV.

    Raises:
      WriteError: if it can't be written.
    """
    fields = vars(index)
    columns = {name: fields[name] for name in (*_TEXTS, "embeddings")}
    write_table(path, Table({name: fields[name] for name in _ABOUT}, columns))


def read_index(path: Path, weights: ModelWeights) -> Index:
    """Reads an NPZ that `write_index` wrote.

    Args:
      path: of the file.
      weights: of the model that it has to be of.

    Raises:
      IndexFileError: if there is none, it is damaged, or of another model.
    """
    again = "make it with `python -m mixcon3d_jax.embed --output=FILE.npz`"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            fields = {name: arrays[name] for name in (*_TEXTS, "embeddings")}
            fields |= {name: str(arrays[name]) for name in _ABOUT}
    except FileNotFoundError as error:
        raise IndexFileError(f"{path}: no such file; {again}") from error
    except _DAMAGED as error:
        reason = f"it has no {error.args[0]!r}" if isinstance(error, KeyError) else str(error)
        raise IndexFileError(f"{path} is no index of shapes ({reason}); {again}") from error
    index = Index(**fields)
    lengths = {len(index), *(len(getattr(index, name)) for name in _TEXTS)}
    if index.embeddings.ndim != 2 or len(lengths) != 1 or index.embeddings.dtype != np.float32:
        raise IndexFileError(f"{path} is damaged: its arrays don't fit each other; {again}")
    if index.model_fingerprint != weights.fingerprint:
        raise IndexFileError(
            f"{path} was built by {index.model}, but --model is {weights.description}: embeddings "
            "of two models can't be compared; embed the shapes with this model, or give that one"
        )
    return index
