"""The shape that a visitor looks at: prepared once, embedded in each way that is asked for."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mixcon3d_jax.assets.load import UpAxis, z_up_to_y_up
from mixcon3d_jax.inference.embedder import Rows
from mixcon3d_jax.inference.model import Mode, Model
from mixcon3d_jax.inference.preparation import Prepared, Unreadable, prepare_file
from mixcon3d_jax.web.uploads import UploadError, dropped_asset


class Shape:
    """A mesh or point cloud as a model takes it.

    Attributes:
      name: of its file.
      prepared: its points and renders.
    """

    def __init__(self, name: str, prepared: Prepared, model: Model) -> None:
        self.name, self.prepared = name, prepared
        self._model = model
        self._rows: dict[Mode, Rows] = {}

    @property
    def points(self) -> Float[np.ndarray, "points 3"]:
        """Its points, y-up, in no unit."""
        points = self.prepared.points.astype(np.float32)
        return points if self._model.weights.about.up_axis == "y" else z_up_to_y_up(points)

    def embedding(self, mode: Mode) -> Rows:
        """Its embedding, one row."""
        if mode not in self._rows:
            (self._rows[mode],) = self._model.embedder.by_mode[mode]([[self.prepared]])
        return self._rows[mode]


def read_shape(paths: Sequence[str | Path], up_axis: UpAxis | None, model: Model) -> Shape:
    """Reads what was dropped on the page.

    Args:
      paths: see `dropped_asset`.
      up_axis: see there.
      model: that the shape is prepared for.

    Raises:
      InputError: if it can't be used.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = dropped_asset(paths, up_axis, Path(folder))
        prepared = prepare_file(file, model.preparation("fused"))
    if isinstance(prepared, Unreadable):
        # Visitors know the file by its name; where it was put is no concern of theirs.
        raise UploadError(prepared.reason.replace(f"{folder}/", ""))
    return Shape(file.id, prepared, model)
