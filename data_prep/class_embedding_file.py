"""Class embeddings in a file: a plain `.npy` array, and a JSON file beside it that says of what."""

import dataclasses
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from data_prep.storage import DAMAGED
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.files import npy_bytes, write_whole
from mixcon3d_jax.models.prompts import class_phrase


class ClassEmbeddingsError(InputError):
    """A file of class embeddings is damaged, or does not fit where it is wanted."""


@dataclasses.dataclass(frozen=True)
class ClassEmbeddingsInfo:
    """What the JSON file says.

    Attributes:
      labels: the class names, in the order of the rows.
      clip_id: the CLIP that they were embedded with.
      clip_fingerprint: of the CLIP's files.
      templates_sha256: of the prompt templates.
      embeddings_sha256: of the `.npy` file, so that the two belong together.
    """

    labels: tuple[str, ...]
    clip_id: str
    clip_fingerprint: str
    templates_sha256: str
    embeddings_sha256: str = ""


def info_path(path: Path) -> Path:
    """The JSON file that belongs to an `.npy` file."""
    return path.with_name(f"{path.name}.json")  # names.json may be the list of labels


def templates_digest(templates: Sequence[str]) -> str:
    """Changes with the templates and their order."""
    return hashlib.sha256(json.dumps(list(templates)).encode()).hexdigest()


def write_class_embeddings(
    path: Path, rows: Float32[np.ndarray, "classes D"], info: ClassEmbeddingsInfo
) -> None:
    """Writes both files.

    Raises:
      WriteError: one of them can't be written.
    """
    content = npy_bytes(rows.astype(np.float32))
    digest = hashlib.sha256(content).hexdigest()
    info = dataclasses.replace(info, embeddings_sha256=digest)
    write_whole(path, content)
    text = json.dumps(dataclasses.asdict(info), indent=1) + "\n"
    write_whole(info_path(path), text.encode())


def read_class_embeddings(
    path: Path,
) -> tuple[Float32[np.ndarray, "classes D"], ClassEmbeddingsInfo]:
    """Reads both files.

    Raises:
      ClassEmbeddingsError: one is missing or damaged, or they don't belong together.
    """
    again = "make it again with `python -m data_prep.class_embeddings`"
    try:
        content = path.read_bytes()
        rows = np.load(io.BytesIO(content), allow_pickle=False)
        info = ClassEmbeddingsInfo(**json.loads(info_path(path).read_text()))
    except (*DAMAGED, TypeError) as error:
        raise ClassEmbeddingsError(
            f"{path} and {info_path(path).name} beside it can't be read ({error}); {again}"
        ) from error
    info = dataclasses.replace(info, labels=tuple(info.labels))
    belongs = info.embeddings_sha256 == hashlib.sha256(content).hexdigest()
    if not belongs or rows.ndim != 2 or len(rows) != len(info.labels):
        raise ClassEmbeddingsError(
            f"{path} is not the file that {info_path(path).name} beside it describes; {again}"
        )
    return rows, info


def rows_in_order(
    path: Path,
    rows: Float[np.ndarray, "labels D"],
    labels: Sequence[str],
    classes: Sequence[str],
) -> Float[np.ndarray, "classes D"]:
    """The rows of `classes`, whatever the order of `labels` is; `_` and a space are the same.

    Raises:
      ClassEmbeddingsError: a class has no row; the message names it and the file.
    """
    row_of = {class_phrase(label): index for index, label in enumerate(labels)}
    missing = [name for name in classes if class_phrase(name) not in row_of]
    if missing:
        raise ClassEmbeddingsError(
            f"{path} has no embedding of {len(missing)} of {len(classes)} classes, the first is "
            f"{missing[0]!r}; make it from a list that has all of them"
        )
    return rows[[row_of[class_phrase(name)] for name in classes]]
