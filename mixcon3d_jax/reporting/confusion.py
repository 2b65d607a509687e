"""Which classes are taken for which."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


def confusion_matrix(
    labels: Int[np.ndarray, "shapes"], said: Int[np.ndarray, "shapes"], classes: int
) -> Int[np.ndarray, "classes classes"]:
    """How many shapes of each class (rows) are taken for each class (columns)."""
    counts = np.bincount(labels.astype(np.int64) * classes + said, minlength=classes * classes)
    return counts.reshape(classes, classes)


class Confusion(NamedTuple):
    """Shapes of one class that are taken for another: how many, and of how many."""

    true: int
    said: int
    count: int
    of: int


def most_confused(matrix: Int[np.ndarray, "classes classes"], most: int) -> list[Confusion]:
    """The pairs with the most mistakes, the larger share of the class first among equal numbers."""
    wrong = matrix * ~np.eye(len(matrix), dtype=bool)
    total = matrix.sum(axis=1)
    pairs = [
        Confusion(int(true), int(said), int(wrong[true, said]), int(total[true]))
        for true, said in np.argwhere(wrong > 0)
    ]
    return sorted(pairs, key=lambda pair: (-pair.count, pair.of, pair.true, pair.said))[:most]


def plane_of(
    embeddings: Float[np.ndarray, "shapes D"], labels: Int[np.ndarray, "shapes"] | None
) -> tuple[Float[np.ndarray, "shapes 2"], float]:
    """Shapes in the plane in which their classes differ most, and what share it has.

    The plane is that of the two largest principal components of the classes' means; of the shapes
    themselves where there are fewer than 3 classes.

    Args:
      embeddings: of shapes.
      labels: their classes, if they have any.

    Returns:
      Coordinates, and the share of the shapes' whole variance that lies in the plane, 0..1.
    """
    embeddings = embeddings.astype(np.float64)
    centred = embeddings - embeddings.mean(axis=0)
    spread = centred
    present = np.unique(labels) if labels is not None else []
    if len(present) > 2:
        means = np.stack([centred[labels == label].mean(axis=0) for label in present])
        spread = means - means.mean(axis=0)
    _, _, axes = np.linalg.svd(spread, full_matrices=False)
    axes = axes[:2]
    # The sign of a component is arbitrary: its largest entry shall be positive.
    largest = np.abs(axes).argmax(axis=1)
    axes = axes * np.sign(axes[np.arange(len(axes)), largest])[:, None]
    flat = np.zeros((len(embeddings), 2))
    flat[:, : len(axes)] = centred @ axes.T
    whole = np.square(centred).sum()
    return flat, float(np.square(flat).sum() / whole) if whole > 0 else 0.0
