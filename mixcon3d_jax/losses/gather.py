"""A contrastive term over gathered negatives: each device holds local x global logits."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


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
      directions of rows whose own partner has the largest logit (of equal ones the first counts).
      `count`: rows that take part.
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
