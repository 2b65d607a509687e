"""A benchmark: shapes, and the class names to choose among."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mixcon3d_jax.data import schema
from mixcon3d_jax.data.source import (
    check_card,
    class_embeddings,
    open_split,
    read_card,
    record_labels,
)


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """Shapes to classify or to find.

    Attributes:
      name: under which the figures are reported.
      source: stored examples.
      labels: index into `classes` for each example.
      classes: names to choose among; none where the shapes are only to be found.
      class_embeddings: CLIP text embedding of each name.
      has_views: whether the shapes have view embeddings, and not points alone.
      retrieval: whether retrieval is measured.
    """

    name: str
    source: Sequence[dict[str, Any]]
    labels: Int[np.ndarray, "records"]
    classes: tuple[str, ...]
    class_embeddings: Float[np.ndarray, "classes D"]
    has_views: bool = True
    retrieval: bool = False


def open_benchmark(
    name: str,
    directory: Path,
    split: str,
    among: str,
    clip_id: str,
    embedding_size: int,
    *,
    retrieval: bool = False,
) -> Benchmark:
    """Opens a split of a data set as a benchmark.

    Args:
      name: of the benchmark.
      directory: the data set's folder.
      split: which of its splits.
      among: `all` chooses among the data set's classes, `present` among those in the split.
      clip_id, embedding_size: the run's; another data set's is refused.
      retrieval: whether retrieval is measured; then records need no classes, and where one has none
        nothing is classified.

    Raises:
      SchemaError: if the data set does not fit, or a record has no class.
    """
    card = read_card(directory)
    check_card(card, directory, clip_id, embedding_size)
    source = open_split(directory, split)
    has_views = card.num_views > 0
    if retrieval and not _has_classes(card, directory, split):
        labels, nothing = np.zeros(len(source), np.int32), np.zeros((0, embedding_size), np.float32)
        return Benchmark(name, source, labels, (), nothing, has_views, retrieval)
    labels = record_labels(directory, split)
    if labels.min() < 0:
        raise schema.SchemaError(
            f"benchmark {name}: {int((labels < 0).sum())} records of {directory}, split {split!r}, "
            "have no class; prepare it again with the class of every shape, or measure retrieval "
            f"alone with config.eval.retrieval={name}"
        )
    classes, embeddings = card.classes, class_embeddings(directory)
    if among == "present":
        kept, labels = np.unique(labels, return_inverse=True)
        classes, embeddings = tuple(classes[i] for i in kept), embeddings[kept]
    elif among != "all":
        raise schema.SchemaError(f"benchmark {name}: among is {among!r}; say 'all' or 'present'")
    labels = labels.astype(np.int32)
    return Benchmark(name, source, labels, classes, embeddings, has_views, retrieval)


def _has_classes(card: schema.DatasetCard, directory: Path, split: str) -> bool:
    return bool(card.classes) and record_labels(directory, split).min() >= 0
