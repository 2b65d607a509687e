"""The training objective: four masked contrastive terms and their sum."""

from mixcon3d_jax.losses.gather import contrastive_sums
from mixcon3d_jax.losses.ring import ring_contrastive_sums
from mixcon3d_jax.losses.terms import Negatives, Weights, mixcon3d_terms, total_loss

__all__ = [
    "Negatives",
    "Weights",
    "contrastive_sums",
    "mixcon3d_terms",
    "ring_contrastive_sums",
    "total_loss",
]
