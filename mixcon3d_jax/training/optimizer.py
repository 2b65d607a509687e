"""AdamW as PyTorch has it, and the learning rate over a run."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from mixcon3d_jax.models.variables import Tree


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with decoupled weight decay on every parameter, warm-up and cosine.

    Attributes:
      learning_rate: after the warm-up.
      min_learning_rate: at the end.
      warmup_steps: over which the rate rises linearly; step 0 already moves.
      total_steps: length of the run.
      lag_steps: steps that the rate comes late; until it does, it is `learning_rate`.
      beta1, beta2, epsilon, weight_decay: AdamW's.
    """

    learning_rate: float
    min_learning_rate: float
    warmup_steps: int
    total_steps: int
    lag_steps: int = 0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.01


def learning_rate_at(config: OptimizerConfig, step: Int[Array, ""]) -> Float[Array, ""]:
    """The rate that the update of `step` (counted from 0) uses."""
    step = jnp.asarray(step, jnp.float32) - config.lag_steps
    warmup = config.learning_rate * (step + 1) / max(config.warmup_steps, 1)
    progress = (step - config.warmup_steps) / max(config.total_steps - config.warmup_steps, 1)
    span = config.learning_rate - config.min_learning_rate
    cosine = config.min_learning_rate + span * 0.5 * (1 + jnp.cos(jnp.pi * progress.clip(0, 1)))
    rate = jnp.where(step < config.warmup_steps, warmup, cosine)
    return jnp.where(step < 0, config.learning_rate, rate)


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """PyTorch's AdamW: the decay is `learning_rate * weight_decay * parameter`, for all of them."""
    return optax.adamw(
        lambda step: learning_rate_at(config, step),
        b1=config.beta1,
        b2=config.beta2,
        eps=config.epsilon,
        weight_decay=config.weight_decay,
    )


def trained_mask(params: Tree, frozen: str) -> Tree:
    """Whether each parameter is trained: True unless `frozen` matches the whole of its path.

    Args:
      params: nested dicts of arrays or shapes.
      frozen: a regular expression over paths such as `fusion/kernel`; empty freezes none.
    """

    def is_trained(path, leaf):
        return not re.fullmatch(frozen, "/".join(str(key.key) for key in path))

    return jax.tree_util.tree_map_with_path(is_trained, params)
