"""The parts of a trained model as compiled programs, each over batches of one size.

A batch that is not full is filled up with zeros.  So a program is compiled once, and a row's result
is the same whatever else is in its batch.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, UInt8, UInt16
from ml_collections import ConfigDict

from mixcon3d_jax.data.clouds import unpack_clouds
from mixcon3d_jax.inference.weights import ModelWeights
from mixcon3d_jax.models.mixcon3d import MixCon3D
from mixcon3d_jax.models.variables import flatten, model_structure, unflatten_like
from mixcon3d_jax.sharding import batch_sharding, replicated
from mixcon3d_jax.training.run_config import model_config

# Rows of a batch: a CPU gains nothing from more, and an accelerator wants them.
_BATCH = {"cpu": 16}
_BATCH_ELSEWHERE = 64
# Batches that the device has to do while the host is late with the next.
_BATCHES_AHEAD = 2


class Programs:
    """A model on the devices of a mesh.

    Args:
      weights: of the model.
      mesh: whose devices split the batches.
      batch_size: rows of a batch; rounded up to a multiple of the devices.  Default: 16 on a CPU,
        else 64.
    """

    def __init__(self, weights: ModelWeights, mesh: Mesh, batch_size: int | None = None):
        config = ConfigDict(weights.about.config)
        self._structure, params, stats = model_structure(model_config(config))
        params, stats = (
            unflatten_like(tree, weights.arrays | _absent(tree, weights.about.missing))
            for tree in (params, stats)
        )
        self._weights = jax.device_put((params, stats), replicated(mesh))
        self._place = batch_sharding(mesh)
        wanted = batch_size or _BATCH.get(mesh.devices.flat[0].platform, _BATCH_ELSEWHERE)
        self.batch_size = wanted + -wanted % mesh.size
        self.points = self._compiled(_embed_points)
        self.text = self._compiled(MixCon3D.embed_text)
        self.views = self._compiled(MixCon3D.embed_views)
        self.fuse = self._compiled(MixCon3D.fuse)

    def started(self, program: Callable, *rows: np.ndarray) -> Array:
        """Starts a program on one batch; the result has `batch_size` rows."""
        return program(*(jax.device_put(self._filled(array), self._place) for array in rows))

    def rows_of(
        self, program: Callable, batches: Iterable[tuple[np.ndarray, ...]]
    ) -> Iterator[np.ndarray]:
        """The rows of each batch, as float32; the device works while the next ones are prepared.

        Args:
          program: one of this object's.
          batches: what it takes, of at most `batch_size` rows.
        """
        running: deque[tuple[Array, int]] = deque()
        for batch in batches:
            running.append((self.started(program, *batch), len(batch[0])))
            if len(running) > _BATCHES_AHEAD:
                rows, count = running.popleft()
                yield np.asarray(rows)[:count]
        for rows, count in running:
            yield np.asarray(rows)[:count]

    def all_rows(self, program: Callable, *arrays: np.ndarray) -> Float[np.ndarray, "rows D"]:
        """What a program gives for any number of rows."""
        size = self.batch_size
        batches = (
            tuple(array[start : start + size] for array in arrays)
            for start in range(0, max(len(arrays[0]), 1), size)
        )
        return np.concatenate(list(self.rows_of(program, batches)))

    def _compiled(self, method: Callable) -> Callable[..., Array]:
        structure = self._structure

        @jax.jit
        def run(weights, *batch):
            return method(nnx.merge(structure, *weights), *batch)

        return lambda *batch: run(self._weights, *batch)

    def _filled(self, rows: np.ndarray) -> np.ndarray:
        missing = self.batch_size - len(rows)
        return np.pad(rows, [(0, missing)] + [(0, 0)] * (rows.ndim - 1)) if missing else rows


def _embed_points(
    model: MixCon3D,
    points: UInt16[Array, "batch points 3"],
    colors: UInt8[Array, "batch points 3"],
) -> Float[Array, "batch D"]:
    return model.embed_points(*unpack_clouds(points, colors))


def _absent(tree: dict, missing: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Zeros for modules without weights, which nothing may be computed with."""
    return {
        name: np.zeros(leaf.shape, np.float32)
        for name, leaf in flatten(tree).items()
        if name.split("/")[0] in missing
    }
