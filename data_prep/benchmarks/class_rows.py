"""Which class embeddings a benchmark gets, and the CLIP that they are of."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from data_prep.class_embedding_file import (
    ClassEmbeddingsError,
    read_class_embeddings,
    rows_in_order,
)


@dataclass(frozen=True)
class ClassRows:
    """The source of a benchmark's class embeddings.

    Attributes:
      clip_id: the CLIP of everything that the original embedded.
      file: class embeddings to take instead of the original's; None for the original's.
    """

    clip_id: str
    file: Path | None = None

    def choose(
        self,
        classes: Sequence[str],
        original: Float32[np.ndarray, "classes D"],
        views: bool,
    ) -> tuple[Float32[np.ndarray, "classes E"], str]:
        """The embeddings of `classes` and the id of their CLIP.

        Args:
          classes: the names.
          original: the original's embeddings of them.
          views: whether the shapes have embeddings of the original's CLIP, beside which those of
            another CLIP would mean nothing.

        Raises:
          ClassEmbeddingsError: the file can't be read, lacks a class, or is of a wrong CLIP.
        """
        if self.file is None:
            return original, self.clip_id
        rows, info = read_class_embeddings(self.file)
        same = (info.clip_id, rows.shape[1]) == (self.clip_id, original.shape[1])
        if views and not same:
            raise ClassEmbeddingsError(
                f"{self.file} is of CLIP {info.clip_id!r} of size {rows.shape[1]}, but the views "
                f"of these shapes are of {self.clip_id!r} of size {original.shape[1]}; only class "
                "embeddings of that CLIP fit (--clip-id names it)"
            )
        return rows_in_order(self.file, rows, info.labels, classes), info.clip_id
