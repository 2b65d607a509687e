"""What one sample takes from a record: points, views and a text.

The rules are the original's (OpenShape, arXiv 2305.10764; MixCon3D, arXiv 2311.01734); every
random choice comes from the generator that is handed in.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from mixcon3d_jax.data.schema import EMBEDDING_KINDS, TEXT_SOURCES

Sample = dict[str, np.ndarray]

_SMALLEST_NORM = 1e-6


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


def normalize_cloud(points: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, "points 3"]:
    """Centers on the mean and scales the largest norm to 1 (all zeros for a single point)."""
    points = points - points.mean(axis=0)
    largest = np.sqrt(np.square(points).sum(axis=1).max())
    if largest < _SMALLEST_NORM:
        return np.zeros_like(points)
    return points / largest


def sample_points(
    example: Mapping[str, Any], num_points: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "points 3"], Float[np.ndarray, "points 3"]]:
    """Normalised points in random order, and their colours in 0..1.

    Drawn without replacement, or with it where the record has too few.  The y and z coordinates are
    exchanged: a mirror, kept so that released weights mean the same.
    """
    # Normalised below, so neither the stored origin nor the stored unit matters.
    points = example["points"]
    index = rng.permutation(len(points))[:num_points]
    if len(index) < num_points:
        index = rng.integers(len(points), size=num_points)
    points = normalize_cloud(points[index][:, [0, 2, 1]].astype(np.float32))
    return points, example["colors"][index].astype(np.float32) / np.float32(255)


def sample_views(
    example: Mapping[str, Any], policy: ViewPolicy, rng: np.random.Generator
) -> Float[np.ndarray, "views D"]:
    """CLIP embeddings of views as `policy` says, float32."""
    views = example["view_embeddings"]
    if policy.choice == "spread":
        index = np.arange(policy.num_views) * len(views) // policy.num_views
    else:
        index = rng.integers(len(views), size=policy.num_views)
    chosen = views[index].astype(np.float32)
    thumbnail = example["thumbnail_embedding"]
    if len(thumbnail) and rng.random() < policy.thumbnail_probability:
        chosen[0] = thumbnail[0]
    return chosen


def sample_text(
    example: Mapping[str, Any], rng: np.random.Generator
) -> tuple[Float[np.ndarray, "D"], bool]:
    """One text embedding, and whether there is one.

    The pool has one random text, one random caption and one random retrieved text, as far as there
    are any; one entry of the pool is taken at random.  A drawn text without an embedding (an empty
    caption, say) adds nothing to the pool.  Texts and captions count by their prompt-averaged
    embedding where it is stored, retrieved texts by their own.
    """
    sources = example["text_sources"]
    by_source = [np.flatnonzero(sources == source) for source in range(len(TEXT_SOURCES))]
    drawn = [rng.choice(texts) for texts in by_source if len(texts)]
    pool = [text for text in drawn if text in example["embedding_text"]]
    if not pool:
        return np.zeros(example["text_embeddings"].shape[1], np.float32), False
    text = rng.choice(pool)
    rows = np.flatnonzero(example["embedding_text"] == text)
    retrieved = TEXT_SOURCES[example["text_sources"][text]] == "retrieval"
    wanted = EMBEDDING_KINDS.index("original" if retrieved else "prompt_avg")
    row = rows[int(np.argmax(example["embedding_kind"][rows] == wanted))]
    return example["text_embeddings"][row].astype(np.float32), True


def draw_sample(
    example: Mapping[str, Any], num_points: int, views: ViewPolicy, rng: np.random.Generator
) -> Sample:
    """One training or evaluation sample of a stored example.

    Returns:
      `points` (num_points, 3), `colors` (num_points, 3), `view_embeddings` (M, D),
      `text_embedding` (D,), `has_text` ().
    """
    points, colors = sample_points(example, num_points, rng)
    text, has_text = sample_text(example, rng)
    return {
        "points": points,
        "colors": colors,
        "view_embeddings": sample_views(example, views, rng),
        "text_embedding": text,
        "has_text": np.bool_(has_text),
    }
