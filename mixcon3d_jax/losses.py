"""The masked contrastive terms and their sum (MixCon3D, arXiv 2311.01734, equations 1 to 4)."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mixcon3d_jax.models.layers import normalize
from mixcon3d_jax.models.mixcon3d import TEMPERATURES


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights of the four terms in the total."""

    point_text: float = 1.0
    point_image: float = 1.0
    image_text: float = 1.0
    fused_text: float = 1.0


def contrastive_sums(
    a: Float[Array, "local D"],
    b: Float[Array, "local D"],
    logit_scale: Float[Array, ""],
    mask: Bool[Array, "local"],
    axis_names: tuple[str, ...] = (),
) -> dict[str, Float[Array, ""]]:
    """Sums over the local rows of one contrastive term, in both directions.

    Negatives are the unmasked rows of the global batch, so memory is O(local x global).  Rows that
    are masked out are neither queries nor negatives.

    Args:
      a, b: unit vectors; row i of one belongs to row i of the other.
      logit_scale: natural logarithm of the factor on the cosines.
      mask: rows that take part.
      axis_names: mesh axes that the batch is split over (inside `jax.shard_map`).

    Returns:
      `loss`: mean of the two cross-entropies, summed over rows.  `correct`: mean over the two
      directions of rows whose own partner has the largest logit.  `count`: rows that take part.
    """

    def gather(x):
        return jax.lax.all_gather(x, axis_names, tiled=True) if axis_names else x

    local = a.shape[0]
    first = jax.lax.axis_index(axis_names) * local if axis_names else 0
    label = first + jnp.arange(local)
    global_mask = gather(mask)
    scale = jnp.exp(logit_scale.astype(jnp.float32))
    loss = correct = jnp.float32(0.0)
    for query, candidates in ((a, gather(b)), (b, gather(a))):
        logits = scale * jnp.matmul(query, candidates.T, precision=jax.lax.Precision.HIGHEST)
        # A finite floor: with -inf a row without any partner would have NaN gradients.
        logits = jnp.where(global_mask[None], logits, -1e30)
        own = jnp.take_along_axis(logits, label[:, None], axis=1)[:, 0]
        row_loss = jax.nn.logsumexp(logits, axis=1) - own
        loss += jnp.sum(jnp.where(mask, row_loss, 0.0)) / 2
        correct += jnp.sum(mask & (jnp.argmax(logits, axis=1) == label)) / 2
    return {"loss": loss, "correct": correct, "count": jnp.sum(mask).astype(jnp.float32)}


def mixcon3d_terms(
    embeddings: dict[str, Float[Array, "local D"]],
    logit_scales: dict[str, Float[Array, ""]],
    has_text: Bool[Array, "local"],
    axis_names: tuple[str, ...] = (),
) -> dict[str, dict[str, Float[Array, ""]]]:
    """The four terms over the global batch.

    Args:
      embeddings: `point`, `image`, `text` and `fused`, not yet normalised.
      logit_scales: a logarithm for each of `TEMPERATURES`.
      has_text: rows whose text exists; the others are out of every term with text.
      axis_names: mesh axes that the batch is split over (inside `jax.shard_map`).

    Returns:
      For each term its mean `loss` and `accuracy` over the rows that take part (0 where none does).
    """
    unit = {name: normalize(x) for name, x in embeddings.items()}
    terms = {}
    for term in TEMPERATURES:
        first, second = term.split("_")
        mask = has_text if second == "text" else jnp.ones_like(has_text)
        sums = contrastive_sums(unit[first], unit[second], logit_scales[term], mask, axis_names)
        if axis_names:
            sums = jax.lax.psum(sums, axis_names)
        count = jnp.maximum(sums["count"], 1.0)
        terms[term] = {"loss": sums["loss"] / count, "accuracy": sums["correct"] / count}
    return terms


def total_loss(terms: dict[str, dict[str, Float[Array, ""]]], weights: Weights) -> Float[Array, ""]:
    """The weighted sum of the terms' losses."""
    return sum(getattr(weights, name) * term["loss"] for name, term in terms.items())
