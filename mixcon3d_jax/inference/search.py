"""Exact search for the nearest of many embeddings by cosine."""

from typing import Literal

import numpy as np
from jaxtyping import Float32, Int64

from mixcon3d_jax.extras import extra

Backend = Literal["numpy", "faiss"]
Cosines = Float32[np.ndarray, "queries top"]
Rows = Int64[np.ndarray, "queries top"]

# Rows that queries are compared with at once: little memory beside the index itself.
_BLOCK = 65_536


def nearest(
    index: Float32[np.ndarray, "rows D"],
    queries: Float32[np.ndarray, "queries D"],
    top: int,
    backend: Backend = "numpy",
) -> tuple[Rows, Cosines]:
    """The rows that are closest to each query, the closest first.

    Args:
      index, queries: of length 1.
      top: how many; all rows where there are fewer.
      backend: `numpy`, where of equal rows the earlier one is closer; or `faiss`' exact index.

    Returns:
      Numbers of rows, and their cosines.

    Raises:
      MissingExtraError: if faiss is not installed.
    """
    top = min(top, len(index))
    if backend == "faiss":
        return _by_faiss(index, queries, top)
    rows = np.zeros((len(queries), 0), np.int64)
    cosines = np.zeros((len(queries), 0), np.float32)
    for start in range(0, len(index), _BLOCK):
        found = queries @ index[start : start + _BLOCK].T
        numbers = np.broadcast_to(np.arange(start, start + found.shape[1]), found.shape)
        # Those found so far come first, so that order decides between equals.
        cosines = np.concatenate([cosines, found], axis=1)
        rows = np.concatenate([rows, numbers], axis=1)
        best = np.stack([_best(row, top) for row in cosines]) if len(queries) else rows[:, :top]
        cosines, rows = (np.take_along_axis(array, best, axis=1) for array in (cosines, rows))
    return rows, cosines


def _best(values: Float32[np.ndarray, "n"], top: int) -> Int64[np.ndarray, "top"]:
    """Where the largest values are, the largest first; of equals the first."""
    top = min(top, len(values))
    least = np.partition(values, len(values) - top)[len(values) - top]
    candidates = np.flatnonzero(values >= least)
    return candidates[np.argsort(-values[candidates], kind="stable")[:top]]


def _by_faiss(index, queries, top: int) -> tuple[Rows, Cosines]:
    with extra("faiss", "--backend=faiss"):
        import faiss
    flat = faiss.IndexFlatIP(index.shape[1])
    flat.add(np.ascontiguousarray(index))
    cosines, rows = flat.search(np.ascontiguousarray(queries), top)
    return rows, cosines
