"""Files of assets to embeddings: loaded ahead by workers, embedded batch by batch."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Float

from mixcon3d_jax.assets import AssetError
from mixcon3d_jax.inference.inputs import AssetFile
from mixcon3d_jax.inference.preparation import Preparation, Prepared, Unreadable, prepare_file
from mixcon3d_jax.progress import progress
from mixcon3d_jax.workers import in_order

# Batches that may lie ready.
_AHEAD = 3


@dataclasses.dataclass(frozen=True)
class EmbeddedFiles:
    """What became of files.

    Attributes:
      embeddings: of those that could be read, in their order, as the model gives them.
      files: the file of each row.
      failures: the others, and why.
      notes: what was mended or left out in files.
    """

    embeddings: Float[np.ndarray, "files D"]
    files: tuple[AssetFile, ...]
    failures: tuple[tuple[AssetFile, str], ...]
    notes: tuple[tuple[AssetFile, str], ...]


def embed_files(
    files: Sequence[AssetFile],
    preparation: Preparation,
    embed: Callable[[Iterable[list[Prepared]]], Iterator[np.ndarray]],
    batch_size: int,
    *,
    workers: int = 0,
    strict: bool = False,
    shown: bool = False,
) -> EmbeddedFiles:
    """Prepares files, while what is ready is embedded.

    Args:
      files: in any order.
      preparation: how they are prepared.
      embed: batches of prepared assets to rows of embeddings.
      batch_size: of the batches; the last one may be smaller.
      workers: processes that prepare; 0: threads of this process, one a core.
      strict: the first file that can't be used is an error.
      shown: a progress bar is.

    Raises:
      AssetError: if `strict`, and a file can't be used.
    """
    kept: list[AssetFile] = []
    failures: list[tuple[AssetFile, str]] = []
    notes: list[tuple[AssetFile, str]] = []

    def good() -> Iterator[Prepared]:
        tasks = ((file, preparation) for file in files)
        results = in_order(prepare_file, tasks, workers, _AHEAD * batch_size)
        shown_results = progress(results, len(files), "embedding", shown=shown)
        for file, result in zip(files, shown_results, strict=True):
            if isinstance(result, Unreadable):
                if strict:
                    raise AssetError(result.reason)
                failures.append((file, result.reason))
                continue
            kept.append(file)
            notes.extend((file, note) for note in result.notes)
            yield result

    rows = list(embed(_in_batches(good(), batch_size)))
    embeddings = np.concatenate(rows) if rows else np.zeros((0, 0), np.float32)
    return EmbeddedFiles(embeddings, tuple(kept), tuple(failures), tuple(notes))


def _in_batches(items: Iterable[Prepared], size: int) -> Iterator[list[Prepared]]:
    batch: list[Prepared] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
