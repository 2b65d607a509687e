"""The masked contrastive terms and their sum (MixCon3D, arXiv 2311.01734, equations 1 to 4)."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mixcon3d_jax.losses.gather import contrastive_sums
from mixcon3d_jax.losses.ring import ring_contrastive_sums
from mixcon3d_jax.models.layers import normalize
from mixcon3d_jax.models.mixcon3d import TEMPERATURES

Negatives = Literal["gather", "ring"]


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights of the four terms in the total."""

    point_text: float = 1.0
    point_image: float = 1.0
    image_text: float = 1.0
    fused_text: float = 1.0


def mixcon3d_terms(
    embeddings: dict[str, Float[Array, "local D"]],
    logit_scales: dict[str, Float[Array, ""]],
    has_text: Bool[Array, "local"],
    axis_names: tuple[str, ...] = (),
    negatives: Negatives = "gather",
    logit_block: int = 1024,
) -> dict[str, dict[str, Float[Array, ""]]]:
    """The four terms over the global batch.

    Args:
      embeddings: `point`, `image`, `text` and `fused`, not yet normalised.
      logit_scales: a logarithm for each of `TEMPERATURES`.
      has_text: rows whose text exists; the others are out of every term with text.
      axis_names: mesh axes that the batch is split over (inside `jax.shard_map`).
      negatives: all on every device at once (`gather`), or block by block (`ring`).
      logit_block: rows of a ring's block of logits.

    Returns:
      For each term its mean `loss` and `accuracy` over the rows that take part (0 where none does).
    """
    unit = {name: normalize(x) for name, x in embeddings.items()}
    # Not `ones_like`: a mask has to differ between devices, for all that the compiler knows.
    masks = {"text": has_text, "image": has_text | True}
    if negatives == "ring":
        sums = _ring_sums(unit, logit_scales, masks, axis_names, logit_block)
    else:
        sums = _gather_sums(unit, logit_scales, masks, axis_names)
    if axis_names:
        sums = jax.lax.psum(sums, axis_names)
    terms = {}
    for term, of_term in sums.items():
        count = jnp.maximum(of_term["count"], 1.0)
        terms[term] = {"loss": of_term["loss"] / count, "accuracy": of_term["correct"] / count}
    return terms


def _gather_sums(unit, logit_scales, masks, axis_names):
    sums = {}
    for term in TEMPERATURES:
        first, second = term.split("_")
        pair, scale = (unit[first], unit[second]), logit_scales[term]
        sums[term] = contrastive_sums(*pair, scale, masks[second], axis_names)
    return sums


def _ring_sums(unit, logit_scales, masks, axis_names, logit_block):
    """The terms with texts share one ring, since it is the texts that travel."""
    sums = {}
    for second, mask in masks.items():
        names = [term for term in TEMPERATURES if term.endswith(f"_{second}")]
        found = ring_contrastive_sums(
            jnp.stack([unit[term.split("_")[0]] for term in names]),
            unit[second],
            jnp.stack([logit_scales[term] for term in names]),
            mask,
            axis_names,
            logit_block,
        )
        for i, term in enumerate(names):
            sums[term] = {key: values[i] for key, values in found.items()}
    return {term: sums[term] for term in TEMPERATURES}


def total_loss(terms: dict[str, dict[str, Float[Array, ""]]], weights: Weights) -> Float[Array, ""]:
    """The weighted sum of the terms' losses."""
    return sum(getattr(weights, name) * term["loss"] for name, term in terms.items())
