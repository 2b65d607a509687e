"""Shapes among class names: cosines, and probabilities by the trained temperature."""

import dataclasses

import numpy as np
from jaxtyping import Float, Float32

from mixcon3d_jax.errors import InputError

# Which trained temperature belongs to what is compared with a text.
TEMPERATURE_OF = {"point": "point_text", "image": "image_text", "fused": "fused_text"}


@dataclasses.dataclass(frozen=True)
class Classification:
    """How close shapes are to class names.

    Attributes:
      labels: the names.
      cosines: of shapes and names, in -1..1.
      probabilities: softmax of the cosines times the trained scale; a row sums to 1.
    """

    labels: tuple[str, ...]
    cosines: Float32[np.ndarray, "shapes labels"]
    probabilities: Float32[np.ndarray, "shapes labels"]

    @property
    def best(self) -> list[str]:
        """The closest name of each shape."""
        return [ranked[0][0] for ranked in self.ranked(1)]

    def ranked(self, top: int | None = None) -> list[list[tuple[str, float]]]:
        """For each shape the names with their probabilities, the most probable first."""
        order = np.argsort(-self.cosines, axis=1, kind="stable")[:, :top]
        return [
            [(self.labels[i], float(row[i])) for i in best]
            for best, row in zip(order, self.probabilities, strict=True)
        ]


def classify_among(
    labels: tuple[str, ...],
    shapes: Float[np.ndarray, "shapes D"],
    names: Float[np.ndarray, "labels D"],
    scale: float,
) -> Classification:
    """Compares embeddings, of any length, of shapes with those of names.

    Args:
      labels: the names.
      shapes, names: of one space.
      scale: that cosines are multiplied by.
    """
    cosines = unit_rows(shapes) @ unit_rows(names).T
    logits = scale * cosines.astype(np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    return Classification(labels, cosines, probabilities.astype(np.float32))


def check_labels(labels: tuple[str, ...]) -> None:
    """Raises an `InputError` unless there are two or more names, none of them empty."""
    if not labels or any(not isinstance(label, str) or not label.strip() for label in labels):
        raise InputError(f"a name among the labels is empty, or there is none: {list(labels)}")
    if len(labels) == 1:
        raise InputError(
            f"{labels[0]!r} is the only label, so every shape would be one; give two or more"
        )


def unit_rows(rows: Float[np.ndarray, "rows D"]) -> Float32[np.ndarray, "rows D"]:
    """Rows brought to length 1; zeros stay zeros."""
    rows = np.asarray(rows, np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)
