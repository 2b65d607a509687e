"""Zero-shot classification: the class whose name is closest to the shape."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mixcon3d_jax.metrics import TOP_K
from mixcon3d_jax.models.layers import normalize
from mixcon3d_jax.models.mixcon3d import MixCon3D


def embed_names(
    model: MixCon3D, class_embeddings: Float[Array, "classes D"]
) -> Float[Array, "classes D"]:
    """Class names as unit vectors, from the CLIP text embeddings of them."""
    return normalize(model.embed_text(class_embeddings))


def name_cosines(
    shapes: Mapping[str, Float[Array, "batch D"]], names: Float[Array, "classes D"]
) -> dict[str, Float[Array, "batch classes"]]:
    """Cosines between shapes and class names, for each way of looking at a shape.

    Args:
      shapes: of `shape_embeddings`.
      names: of `embed_names`.

    Returns:
      A matrix for each of `shapes`, and where there are views `sum`: point + image_multiview.
    """
    logits = {
        mode: jnp.matmul(normalize(embedding), names.T, precision=jax.lax.Precision.HIGHEST)
        for mode, embedding in shapes.items()
    }
    if "image_multiview" in logits:
        logits["sum"] = logits["point"] + logits["image_multiview"]
    return logits


def predictions(
    logits: Mapping[str, Float[Array, "batch classes"]], labels: Int[Array, "batch"]
) -> dict[str, dict[str, Array]]:
    """For each mode what it says of each shape, as `top_k_counts` judges it.

    `classes`: the classes with the largest logits, at most 5, the nearest first and of equal ones
    the first in order.  `lead`: by how much the first of them is ahead of the shape's own class.
    """
    found = {}
    for mode, values in logits.items():
        top, classes = jax.lax.top_k(values, min(max(TOP_K), values.shape[1]))
        own = jnp.take_along_axis(values, labels[:, None], axis=1)
        found[mode] = {"classes": classes, "lead": (top[:, :1] - own)[:, 0]}
    return found
