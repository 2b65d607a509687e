"""What one sample takes from a record: points, views and a text.

The rules are the original's (OpenShape, arXiv 2305.10764; MixCon3D, arXiv 2311.01734); every
random choice comes from the generator that is handed in.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int, UInt8, UInt16

from mixcon3d_jax.data.schema import EMBEDDING_KINDS, TEXT_SOURCES, SchemaError

Sample = dict[str, np.ndarray]

_INDEX_BITS = np.uint64(16)
_LOW_BITS = np.uint64(0xFFFF)
_TEXT, _RETRIEVAL = (TEXT_SOURCES.index(source) for source in ("text", "retrieval"))
_ORIGINAL, _PROMPT_AVG = (EMBEDDING_KINDS.index(kind) for kind in ("original", "prompt_avg"))


@dataclasses.dataclass(frozen=True)
class ViewPolicy:
    """Which of a record's view embeddings a sample takes.

    Attributes:
      num_views: how many (M).
      choice: `random` draws with replacement; `spread` takes distinct views, evenly spaced over
        the record's, and draws nothing.
      thumbnail_probability: with which the first view is the thumbnail, where a record has one.
    """

    num_views: int = 4
    choice: Literal["random", "spread"] = "random"
    thumbnail_probability: float = 0.0


@dataclasses.dataclass(frozen=True)
class TowerInputs:
    """How renders and texts are brought to the towers of a CLIP that embeds them in the step.

    Attributes:
      pixels: encoded images -> (images, size, size, 3) of uint8.
      ids: a text -> its (context,) token ids.
    """

    pixels: Callable[[Sequence[bytes]], UInt8[np.ndarray, "images size size 3"]]
    ids: Callable[[str], Int[np.ndarray, "context"]]


def random_order(count: int, rng: np.random.Generator) -> Int[np.ndarray, "count"]:
    """A random permutation of `count` (at most 65,536) numbers: those of 32-bit keys in order.

    Half the time of `rng.permutation`, which is what reading spends most on.  Two of 10,000 keys
    are equal once in a hundred times; of those two the smaller number comes first.
    """
    random = rng.bit_generator.random_raw((count + 1) // 2).view(np.uint32)[:count]
    keys = random.astype(np.uint64)
    keys <<= _INDEX_BITS
    keys |= np.arange(count, dtype=np.uint64)
    keys.sort()
    keys &= _LOW_BITS
    return keys.view(np.int64)


def sample_points(
    example: Mapping[str, Any], num_points: int, rng: np.random.Generator
) -> tuple[UInt16[np.ndarray, "points 3"], UInt8[np.ndarray, "points 3"]]:
    """Stored points in random order, and their colours (see `clouds.unpack_clouds`).

    Drawn without replacement, or with it where the record has too few.
    """
    points, colors = example["points"], example["colors"]
    if len(points) < num_points:
        index = rng.integers(len(points), size=num_points)
    elif len(points) <= _LOW_BITS:
        index = random_order(len(points), rng)[:num_points]
    else:
        index = rng.permutation(len(points))[:num_points]
    return points.take(index, axis=0), colors.take(index, axis=0)


def choose_views(
    count: int, policy: ViewPolicy, rng: np.random.Generator
) -> Int[np.ndarray, "views"]:
    """Which of `count` views `policy` takes."""
    if policy.choice == "spread":
        return np.arange(policy.num_views) * count // policy.num_views
    return rng.integers(count, size=policy.num_views)


def sample_views(
    example: Mapping[str, Any], policy: ViewPolicy, rng: np.random.Generator
) -> Float[np.ndarray, "views D"]:
    """CLIP embeddings of views as `policy` says, float32."""
    views = example["view_embeddings"]
    chosen = views[choose_views(len(views), policy, rng)].astype(np.float32)
    thumbnail = example["thumbnail_embedding"]
    if len(thumbnail) and rng.random() < policy.thumbnail_probability:
        chosen[0] = thumbnail[0]
    return chosen


def choose_text(example: Mapping[str, Any], rng: np.random.Generator) -> int | None:
    """Which of a record's texts a sample takes, or None if there is none to take.

    The pool has one random text, one random caption and one random retrieved text, as far as there
    are any; one entry of the pool is taken at random.  A drawn text without an embedding (an empty
    caption, say) adds nothing to the pool.  Of an Objaverse shape only the first text counts, and
    only if GPT-4 did not judge it unfit.
    """
    by_source: list[list[int]] = [[] for _ in TEXT_SOURCES]
    for text, source in enumerate(example["text_sources"].tolist()):
        by_source[source].append(text)
    if example["dataset"] == b"Objaverse":
        by_source[_TEXT] = [] if example["gpt4_flag"] == b"N" else by_source[_TEXT][:1]
    drawn = [_one_of(texts, rng) for texts in by_source if texts]
    of_text = example["embedding_text"].tolist()
    pool = [text for text in drawn if text in of_text]
    return _one_of(pool, rng) if pool else None


def sample_text(
    example: Mapping[str, Any], rng: np.random.Generator
) -> tuple[Float[np.ndarray, "D"], bool]:
    """One text embedding, and whether there is one.

    Texts and captions count by their prompt-averaged embedding where it is stored, retrieved texts
    by their own.
    """
    text = choose_text(example, rng)
    if text is None:
        return np.zeros(example["text_embeddings"].shape[1], np.float32), False
    of_text = example["embedding_text"].tolist()
    row = of_text.index(text)
    wanted = _ORIGINAL if example["text_sources"][text] == _RETRIEVAL else _PROMPT_AVG
    if of_text.count(text) > 1 and example["embedding_kind"][row] != wanted:
        row += 1  # the other embedding of the same text stands behind it
    return example["text_embeddings"][row].astype(np.float32), True


def _one_of(items: Sequence[int], rng: np.random.Generator) -> int:
    # `rng.choice` takes ten times as long.
    return items[int(rng.random() * len(items))]


def draw_sample(
    example: Mapping[str, Any],
    num_points: int,
    views: ViewPolicy | None,
    rng: np.random.Generator,
    towers: TowerInputs | None = None,
) -> Sample:
    """One training or evaluation sample of a stored example.

    Args:
      example: stored.
      num_points: points to take.
      views: which views to take, if any.
      rng: of all that is random.
      towers: of the CLIP that embeds views and text in the step; None takes stored embeddings.

    Returns:
      `points` (num_points, 3) and `colors` (num_points, 3) as stored, `text_embedding` (D,),
      `has_text` () and, unless `views` is None, `view_embeddings` (M, D).  With `towers`, instead
      of embeddings: `view_pixels` (M, size, size, 3), never of a thumbnail, and `text_ids`
      (context,), of the text as it is.

    Raises:
      SchemaError: if `towers` are to see renders of a record that has none.
    """
    points, colors = sample_points(example, num_points, rng)
    sample = {"points": points, "colors": colors}
    if towers is None:
        sample["text_embedding"], has_text = sample_text(example, rng)
        if views is not None:
            sample["view_embeddings"] = sample_views(example, views, rng)
        return sample | {"has_text": np.bool_(has_text)}
    text = choose_text(example, rng)
    sample["text_ids"] = towers.ids("" if text is None else example["texts"][text].decode())
    if views is not None:
        sample["view_pixels"] = _view_pixels(example, views, rng, towers)
    return sample | {"has_text": np.bool_(text is not None)}


def _view_pixels(
    example: Mapping[str, Any], views: ViewPolicy, rng: np.random.Generator, towers: TowerInputs
) -> UInt8[np.ndarray, "views size size 3"]:
    renders = example["renders"]
    if not renders:
        raise SchemaError(
            f"record {example['id'].decode()!r} has no renders, which config.targets='towers' "
            "needs; prepare the data with --keep-renders, or train with config.targets='shards'"
        )
    return towers.pixels([renders[i] for i in choose_views(len(renders), views, rng)])
