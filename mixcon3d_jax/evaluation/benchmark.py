"""A benchmark: labelled shapes and the class names to choose among."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mixcon3d_jax.data import schema
from mixcon3d_jax.data.source import check_card, class_embeddings, open_split, read_card


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """Shapes to classify.

    Attributes:
      name: under which the figures are reported.
      source: stored examples.
      labels: index into `classes` for each example.
      classes: names to choose among.
      class_embeddings: CLIP text embedding of each name.
    """

    name: str
    source: Sequence[dict[str, Any]]
    labels: Int[np.ndarray, "records"]
    classes: tuple[str, ...]
    class_embeddings: Float[np.ndarray, "classes D"]


def open_benchmark(
    name: str, directory: Path, split: str, among: str, clip_id: str, embedding_size: int
) -> Benchmark:
    """Opens a split of a data set as a benchmark.

    Args:
      name: of the benchmark.
      directory: the data set's folder.
      split: which of its splits.
      among: `all` chooses among the data set's classes, `present` among those in the split.
      clip_id, embedding_size: the run's; another data set's is refused.

    Raises:
      SchemaError: if the data set does not fit, or a record's class is not among its classes.
    """
    card = read_card(directory)
    check_card(card, directory, clip_id, embedding_size)
    source = open_split(directory, split)
    names = [source[index]["class_name"].decode() for index in range(len(source))]
    unknown = sorted(set(names) - set(card.classes))
    if unknown:
        raise schema.SchemaError(
            f"benchmark {name}: {directory} has records of class {unknown[0]!r}, which is not in "
            "its list of classes; prepare it again"
        )
    classes, embeddings = card.classes, class_embeddings(directory)
    if among == "present":
        kept = [index for index, known in enumerate(classes) if known in set(names)]
        classes, embeddings = tuple(classes[i] for i in kept), embeddings[kept]
    elif among != "all":
        raise schema.SchemaError(f"benchmark {name}: among is {among!r}; say 'all' or 'present'")
    labels = np.array([classes.index(class_name) for class_name in names], np.int32)
    return Benchmark(name, source, labels, classes, embeddings)
