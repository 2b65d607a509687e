"""One training step."""

import dataclasses
import functools
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float

from mixcon3d_jax import losses
from mixcon3d_jax.data.augment import AugmentConfig, augment
from mixcon3d_jax.data.clouds import unpack_clouds
from mixcon3d_jax.models.mixcon3d import (
    MAX_LOGIT_SCALE,
    MixCon3D,
    MixCon3DConfig,
)
from mixcon3d_jax.models.variables import Tree, model_structure, split_module
from mixcon3d_jax.sharding import MESH_AXES, batch_sharding
from mixcon3d_jax.training.optimizer import (
    OptimizerConfig,
    learning_rate_at,
    make_optimizer,
    trained_mask,
)
from mixcon3d_jax.training.state import TrainState

Batch = dict[str, Any]
Metrics = dict[str, Float[Array, ""]]


@dataclasses.dataclass(frozen=True)
class StepConfig:
    """What a step depends on beside the state and the batch.

    Attributes:
      model: shapes of the model.
      optimizer: AdamW and its schedule.
      weights: of the four loss terms.
      ema_decay: share of the old average that a step keeps.
      augment: how clouds are augmented, or None.
      seed: of the augmentation, together with the step's number.
      frozen: a regular expression over the paths of parameters that are not trained.
      clamped: a regular expression over the temperatures that are kept at 100 at most.
    """

    model: MixCon3DConfig
    optimizer: OptimizerConfig
    weights: losses.Weights
    ema_decay: float
    augment: AugmentConfig | None
    seed: int
    frozen: str = ""
    clamped: str = ".*"


def embed_batch(
    model: MixCon3D, batch: Batch, *, train: bool
) -> dict[str, Float[Array, "batch D"]]:
    """The four embeddings that the losses compare."""
    point = model.embed_points(batch["points"], batch["colors"], train=train)
    image = model.embed_views(batch["view_embeddings"])
    return {
        "point": point,
        "image": image,
        "text": model.embed_text(batch["text_embedding"]),
        "fused": model.fuse(point, image),
    }


def train_step(
    state: TrainState, batch: Batch, *, structure: nnx.GraphDef, config: StepConfig, mesh: Mesh
) -> tuple[TrainState, Metrics]:
    """One update from one global batch.

    Args:
      state: before the step.
      batch: `points` (B, N, 3) and `colors` (B, N, 3) as `clouds.unpack_clouds` takes them,
        `view_embeddings` (B, M, D), `text_embedding` (B, D), `has_text` (B,).
      structure: the model's (see `models.variables`).
      config: of the step.
      mesh: that the batch is split over.

    Returns:
      The state after the step, and the step's losses, accuracies and learning rate.
    """
    points, colors = unpack_clouds(batch["points"], batch["colors"])
    if config.augment is not None:
        key = jax.random.fold_in(jax.random.key(config.seed), state.step)
        points, colors = augment(key, points, colors, config.augment)
    batch = batch | {"points": points, "colors": colors}

    global_terms = jax.shard_map(
        functools.partial(losses.mixcon3d_terms, axis_names=MESH_AXES),
        mesh=mesh,
        in_specs=(P(MESH_AXES), P(), P(MESH_AXES)),
        out_specs=P(),
    )

    def loss_fn(params):
        model = nnx.merge(structure, params, state.stats)
        embeddings = embed_batch(model, batch, train=True)
        terms = global_terms(embeddings, params["logit_scales"], batch["has_text"])
        _, _, stats = split_module(model)
        return losses.total_loss(terms, config.weights), (terms, stats)

    (loss, (terms, stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    optimizer = make_optimizer(config.optimizer)
    trained = trained_mask(state.params, config.frozen)
    updates, opt_state = optimizer.update(_kept(grads, trained), state.opt_state, state.params)
    params = optax.apply_updates(state.params, _kept(updates, trained))
    params["logit_scales"] = {
        name: jnp.clip(scale, 0.0, MAX_LOGIT_SCALE) if re.fullmatch(config.clamped, name) else scale
        for name, scale in params["logit_scales"].items()
    }

    def average(old, new):
        return config.ema_decay * old + (1.0 - config.ema_decay) * new

    metrics = {"loss": loss, "learning_rate": learning_rate_at(config.optimizer, state.step)}
    for name, term in terms.items():
        metrics[f"{name}_loss"] = term["loss"]
        metrics[f"{name}_accuracy"] = term["accuracy"]
    return TrainState(
        step=state.step + 1,
        params=params,
        stats=stats,
        opt_state=opt_state,
        ema_params=jax.tree.map(average, state.ema_params, params),
        ema_stats=jax.tree.map(average, state.ema_stats, stats),
    ), metrics


def _kept(tree: Tree, mask: Tree) -> Tree:
    """The tree with zeros where the mask is False."""
    return jax.tree.map(lambda keep, leaf: leaf if keep else jnp.zeros_like(leaf), mask, tree)


def abstract_batch(
    batch_size: int, num_points: int, num_views: int, embedding_size: int, mesh: Mesh
) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes, types and shardings of a global batch as the pipeline makes it, without making one.

    Args:
      batch_size: rows over all devices (B).
      num_points: points a cloud (N).
      num_views: views a sample (M).
      embedding_size: D, that of the frozen CLIP.
      mesh: that the rows are split over.
    """
    shapes = {
        "points": ((num_points, 3), jnp.uint16),
        "colors": ((num_points, 3), jnp.uint8),
        "view_embeddings": ((num_views, embedding_size), jnp.float32),
        "text_embedding": ((embedding_size,), jnp.float32),
        "has_text": ((), jnp.bool_),
    }
    rows = batch_sharding(mesh)
    return {
        name: jax.ShapeDtypeStruct((batch_size, *shape), kind, sharding=rows)
        for name, (shape, kind) in shapes.items()
    }


def compile_train_step(
    config: StepConfig, mesh: Mesh, state: TrainState
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """`train_step` under `jax.jit`; the old state's memory is reused for the new one.

    `state` may be abstract; the new state keeps its shardings.
    """
    structure, _, _ = model_structure(config.model)
    step = functools.partial(train_step, structure=structure, config=config, mesh=mesh)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    return jax.jit(step, donate_argnums=0, out_shardings=(shardings, None))
