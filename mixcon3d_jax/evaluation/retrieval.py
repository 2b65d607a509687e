"""Retrieval: which shapes a text or a picture finds, and which text a shape finds.

Every shape is asked for by one of its texts, drawn as in training, and by its first view.

* A shape answers every text that it has itself, and not only the one that was drawn.  Texts are the
  same if their embeddings are; each is asked once, and is one candidate.  A picture is answered by
  the shape that it shows.
* The rank of a query is that of the best of its answers: 1 is the nearest candidate.  Of candidates
  at the same distance the first in the data set counts as nearer, so that a constant output finds
  what chance finds.
* A shape that is asked for by a picture is fused with other views than that one.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, Int, Int32

from mixcon3d_jax.distributed.compilation import CompiledTogether
from mixcon3d_jax.metrics import best_answer_ranks, retrieval_figures
from mixcon3d_jax.models.layers import normalize
from mixcon3d_jax.models.mixcon3d import MixCon3D
from mixcon3d_jax.sharding import MESH_AXES, replicated

# What the device keeps at once of the similarities: this many, and at most so many queries.
_BLOCK, _MOST_QUERIES = 2**24, 256
# Keys of what is no text: of a candidate, and of a query.
_NO_CANDIDATE, _NO_QUERY = -1, -2

_SHAPES = ("point", "fused", "fused_multiview")
_OTHERS = "fused_others"

Rows = Mapping[str, np.ndarray]


class Search(NamedTuple):
    """Queries and candidates of one direction; a candidate answers a query of the same key.

    Attributes:
      queries, candidates: unit vectors, one for each shape of the benchmark.
      query_keys, candidate_keys: one or several of each, from 0; negative ones are equal to none.
      asked: which of the queries count.
      among: which of the candidates there are.
    """

    queries: Float[np.ndarray, "shapes D"]
    candidates: Float[np.ndarray, "shapes D"]
    query_keys: Int32[np.ndarray, "shapes q"]
    candidate_keys: Int32[np.ndarray, "shapes c"]
    asked: Bool[np.ndarray, "shapes"]
    among: Bool[np.ndarray, "shapes"]


def search_embeddings(
    model: MixCon3D, batch: Mapping[str, Array], shapes: Mapping[str, Float[Array, "batch D"]]
) -> dict[str, Array]:
    """What retrieval embeds beside the shapes: not normalised.

    Args:
      model: with its weights.
      batch: `text_embedding` and, where shapes have them, `view_embeddings`.
      shapes: of `shape_embeddings`.

    Returns:
      `text` (B, D) and, where the fusion head has several views, `fused_others` (B, D): the shape
      fused with other views than the first, and `has_others` (B,): whether there are any.
    """
    found = {"text": model.embed_text(batch["text_embedding"])}
    if "fused" in shapes and batch["view_embeddings"].shape[1] > 1:
        views, found["has_others"] = other_views(batch["view_embeddings"])
        found[_OTHERS] = model.fuse(shapes["point"], model.embed_views(views))
    return found


def retrieval_rows(
    shapes: Mapping[str, Float[Array, "batch D"]],
    search: Mapping[str, Array],
    batch: Mapping[str, Array],
) -> dict[str, Array]:
    """What `figures` needs of each shape of a batch.

    Args:
      shapes: of `shape_embeddings`.
      search: of `search_embeddings`.
      batch: `has_text`, `text_id` and `text_ids` of `evaluation_batches`.
    """
    embeddings = {**shapes, **search}
    kept = {
        name: normalize(embeddings[name])
        for name in (*_SHAPES, "image", "text", _OTHERS)
        if name in embeddings
    }
    about = ("has_text", "text_id", "text_ids", "has_others")
    return kept | {name: rows[name] for rows in (batch, search) for name in about if name in rows}


def other_views(
    views: Float[Array, "batch views D"],
) -> tuple[Float[Array, "batch views-1 D"], Bool[Array, "batch"]]:
    """The views behind the first, and whether any of them is another one.

    Views are drawn with replacement: one that is the first once more is replaced by one that isn't.
    """
    others = views[:, 1:]
    same = jnp.all(others == views[:, :1], axis=2)
    another = jnp.take_along_axis(others, jnp.argmin(same, axis=1)[:, None, None], axis=1)
    return jnp.where(same[:, :, None], another, others), ~jnp.all(same, axis=1)


def figures(rows: Rows, mesh: Mesh) -> dict[str, float]:
    """`MODE/METRIC` -> figure for every direction that the rows allow.

    Modes say what looks for what: `text_to_point`, `image_to_fused_multiview`, `fused_to_text`;
    metrics are those of `metrics.retrieval_figures`.

    Args:
      rows: of `retrieval_rows`, of all shapes of a benchmark; the same on every process.
      mesh: to compute on.
    """
    return {
        f"{mode}/{metric}": figure
        for mode, search in searches(rows)
        for metric, figure in retrieval_figures(ranks(search, mesh)[search.asked]).items()
    }


def searches(rows: Rows) -> Iterator[tuple[str, Search]]:
    """The directions that the rows allow: none by texts or pictures that there are none of."""
    number = len(rows["text"])
    everything = np.ones(number, bool)
    own = np.arange(number, dtype=np.int32)[:, None]
    shapes = [mode for mode in _SHAPES if mode in rows]
    if rows["has_text"].any():
        drawn, of_shape, first = text_keys(rows)
        for mode in shapes:
            asked = Search(rows["text"], rows[mode], drawn, of_shape, first, everything)
            yield f"text_to_{mode}", asked
        for mode in shapes:
            asked = Search(rows[mode], rows["text"], of_shape, drawn, rows["has_text"], first)
            yield f"{mode}_to_text", asked
    if "image" in rows:
        found = Search(rows["image"], rows["point"], own, own, everything, everything)
        yield "image_to_point", found
    if rows.get("has_others", everything & False).any():
        has_others = rows["has_others"]
        yield (
            "image_to_fused_multiview",
            Search(rows["image"], rows[_OTHERS], own, own, has_others, has_others),
        )


def text_keys(
    rows: Rows,
) -> tuple[
    Int32[np.ndarray, "shapes 1"], Int32[np.ndarray, "shapes texts"], Bool[np.ndarray, "shapes"]
]:
    """The number of each shape's drawn text, of all its texts, and whether it is the first of such.

    Only texts that were drawn for some shape have a number; others are never asked for.
    """
    ids = np.ascontiguousarray(rows["text_id"]).view(np.int64)[:, 0]
    has_text = np.flatnonzero(rows["has_text"])
    known, first, number = np.unique(ids[has_text], return_index=True, return_inverse=True)
    drawn = np.full((len(ids), 1), _NO_QUERY, np.int32)
    drawn[has_text, 0] = number
    is_first = np.zeros(len(ids), bool)
    is_first[has_text[first]] = True
    every = np.ascontiguousarray(rows["text_ids"]).view(np.int64)[..., 0]
    every = every[:, : np.flatnonzero(every.any(axis=0))[-1] + 1]
    place = np.minimum(np.searchsorted(known, every), len(known) - 1)
    of_shape = np.where(known[place] == every, place, _NO_CANDIDATE).astype(np.int32)
    return drawn, of_shape, is_first


def ranks(search: Search, mesh: Mesh) -> Int[np.ndarray, "shapes"]:
    """The rank of each query's best answer, from 1; the number of candidates where it has none.

    Queries are split over the mesh, which compares a block of them at a time with all candidates.
    """
    number = len(search.candidates)
    # The same for any mesh, so that every block is computed alike.
    block = max(min(_BLOCK // number, _MOST_QUERIES), 1)
    padded = -(-number // (block * mesh.size)) * block * mesh.size

    def split(rows: np.ndarray, filling: float) -> Array:
        whole = np.full((padded, *rows.shape[1:]), filling, rows.dtype)
        whole[:number] = rows
        return _placed(whole, NamedSharding(mesh, P(MESH_AXES)))

    found = _compile_ranks(mesh, block)(
        split(search.queries, 0),
        split(search.query_keys, _NO_QUERY),
        *(
            _placed(array, replicated(mesh))
            for array in (search.candidates, search.candidate_keys, search.among)
        ),
    )
    return np.asarray(found)[:number]


def _placed(array: np.ndarray, sharding: NamedSharding) -> Array:
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


@functools.cache
def _compile_ranks(mesh: Mesh, block: int) -> Callable[..., Array]:
    def of_all(queries, query_keys, candidates, candidate_keys, among):
        def of_block(rows: tuple[Array, Array]) -> Int[Array, "block"]:
            some, keys = rows
            similarities = jnp.matmul(some, candidates.T, precision=jax.lax.Precision.HIGHEST)
            answers = jnp.zeros(similarities.shape, bool)
            for query in range(keys.shape[1]):
                for candidate in range(candidate_keys.shape[1]):
                    answers |= keys[:, query, None] == candidate_keys[:, candidate]
            return best_answer_ranks(similarities, answers, among)

        blocks = [rows.reshape(-1, block, rows.shape[1]) for rows in (queries, query_keys)]
        return jax.lax.map(of_block, tuple(blocks)).reshape(-1)

    split = P(MESH_AXES)
    mapped = jax.shard_map(
        of_all, mesh=mesh, in_specs=(split, split, P(), P(), P()), out_specs=split
    )
    return CompiledTogether(jax.jit(mapped, out_shardings=replicated(mesh)))
