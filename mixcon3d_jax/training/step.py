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
from jaxtyping import Array, Float, Shaped

from mixcon3d_jax import losses
from mixcon3d_jax.data.augment import AugmentConfig, apply_augmentation, draw_augmentation
from mixcon3d_jax.data.clouds import unpack_clouds
from mixcon3d_jax.models.clip import ClipConfig
from mixcon3d_jax.models.mixcon3d import (
    MAX_LOGIT_SCALE,
    MixCon3D,
    MixCon3DConfig,
)
from mixcon3d_jax.models.pointbert import Groups, find_groups
from mixcon3d_jax.models.variables import Tree, model_structure, split_module
from mixcon3d_jax.sharding import MESH_AXES, batch_sharding
from mixcon3d_jax.training.gradients import (
    Gradients,
    accumulated_gradients,
    whole_batch_gradients,
)
from mixcon3d_jax.training.optimizer import (
    OptimizerConfig,
    learning_rate_at,
    make_optimizer,
    trained_mask,
)
from mixcon3d_jax.training.state import TrainState
from mixcon3d_jax.training.towers import Towers

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
      accum_steps: micro-batches that a batch is cut into.
      negatives, logit_block: how the loss meets them (see `losses.mixcon3d_terms`).
      frozen_statistics: BatchNorm uses its running statistics in training, too, and keeps them.
    """

    model: MixCon3DConfig
    optimizer: OptimizerConfig
    weights: losses.Weights
    ema_decay: float
    augment: AugmentConfig | None
    seed: int
    frozen: str = ""
    clamped: str = ".*"
    accum_steps: int = 1
    negatives: losses.Negatives = "gather"
    logit_block: int = 1024
    frozen_statistics: bool = False


def embed_batch(
    model: MixCon3D, batch: Batch, *, train: bool
) -> dict[str, Float[Array, "batch D"]]:
    """The four embeddings that the losses compare; `groups` of the clouds, if they are known."""
    point = model.embed_points(
        batch["points"], batch["colors"], groups=batch.get("groups"), train=train
    )
    image = model.embed_views(batch["view_embeddings"])
    return {
        "point": point,
        "image": image,
        "text": model.embed_text(batch["text_embedding"]),
        "fused": model.fuse(point, image),
    }


def batch_gradients(
    state: TrainState, batch: Batch, *, structure: nnx.GraphDef, config: StepConfig, mesh: Mesh
) -> Gradients:
    """Loss, terms, running statistics and gradient of one global batch (see `train_step`)."""
    rows = {name: array for name, array in batch.items() if name != "has_text"}
    if config.augment is not None:
        key = jax.random.fold_in(jax.random.key(config.seed), state.step)
        with jax.named_scope("augmentation"):
            rows["draws"] = draw_augmentation(key, *batch["points"].shape[:2], config.augment)

    @jax.named_scope("augmentation")
    def clouds(rows):
        points, colors = unpack_clouds(rows["points"], rows["colors"])
        if config.augment is not None:
            points, colors = apply_augmentation(rows["draws"], points, colors)
        return {"points": points, "colors": colors}

    def group(rows):
        return _packed(find_groups(clouds(rows)["points"], config.model.encoder), rows["points"])

    def embed(params, rows):
        model = nnx.merge(structure, params, state.stats)
        rows = rows | clouds(rows)
        with jax.named_scope("embed"):
            embeddings = embed_batch(model, rows, train=not config.frozen_statistics)
        return embeddings, split_module(model)[2]

    global_terms = jax.shard_map(
        functools.partial(
            losses.mixcon3d_terms,
            axis_names=MESH_AXES,
            negatives=config.negatives,
            logit_block=config.logit_block,
        ),
        mesh=mesh,
        in_specs=(P(MESH_AXES), P(), P(MESH_AXES)),
        out_specs=P(),
    )

    def loss(embeddings, logit_scales):
        with jax.named_scope("losses"):
            terms = global_terms(embeddings, logit_scales, batch["has_text"])
            return losses.total_loss(terms, config.weights), terms

    if config.accum_steps == 1:
        return whole_batch_gradients(embed, loss, state.params, rows)
    found = accumulated_gradients(
        embed, group, loss, state.params, rows, accum_steps=config.accum_steps, mesh=mesh
    )
    # The mean of equal numbers can be off by a rounding.
    return found._replace(stats=state.stats) if config.frozen_statistics else found


def _packed(groups: Groups, points: Shaped[Array, "batch points 3"]) -> Groups:
    """The indices in the smallest type that holds them."""
    kind = jnp.uint16 if points.shape[1] <= 1 << 16 else jnp.int32
    return jax.tree.map(lambda index: index.astype(kind), groups)


def train_step(
    state: TrainState, batch: Batch, *, structure: nnx.GraphDef, config: StepConfig, mesh: Mesh
) -> tuple[TrainState, Metrics]:
    """One update from one global batch.

    With `config.accum_steps` micro-batches the loss and its gradient, also that of the
    temperatures, are still those of the whole batch; what changes is BatchNorm, which normalises
    each micro-batch with statistics of its own (see `training.gradients`).

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
    loss, terms, stats, grads = batch_gradients(
        state, batch, structure=structure, config=config, mesh=mesh
    )
    metrics = {"loss": loss, "learning_rate": learning_rate_at(config.optimizer, state.step)}
    for name, term in terms.items():
        metrics[f"{name}_loss"] = term["loss"]
        metrics[f"{name}_accuracy"] = term["accuracy"]
    return updated_state(state, grads, stats, config), metrics


def updated_state(state: TrainState, grads: Tree, stats: Tree, config: StepConfig) -> TrainState:
    """What follows a gradient: AdamW's update, and the moving averages.

    Args:
      state: before the step.
      grads: of the loss, for every parameter.
      stats: the running statistics after the batch.
      config: of the step.
    """
    with jax.named_scope("optimizer"):
        params, opt_state = _optimized(state, grads, config)

    @jax.named_scope("ema")
    def average(old, new):
        return config.ema_decay * old + (1.0 - config.ema_decay) * new

    return TrainState(
        step=state.step + 1,
        params=params,
        stats=stats,
        opt_state=opt_state,
        ema_params=jax.tree.map(average, state.ema_params, params),
        ema_stats=jax.tree.map(average, state.ema_stats, stats),
    )


def _optimized(state: TrainState, grads: Tree, config: StepConfig) -> tuple[Tree, Any]:
    """Parameters and the optimiser's state after an update with these gradients."""
    trained = trained_mask(state.params, config.frozen)
    updates, opt_state = make_optimizer(config.optimizer).update(
        _kept(grads, trained), state.opt_state, state.params
    )
    params = optax.apply_updates(state.params, _kept(updates, trained))
    params["logit_scales"] = {
        name: jnp.clip(scale, 0.0, MAX_LOGIT_SCALE) if re.fullmatch(config.clamped, name) else scale
        for name, scale in params["logit_scales"].items()
    }
    return params, opt_state


def _kept(tree: Tree, mask: Tree) -> Tree:
    """The tree with zeros where the mask is False."""
    return jax.tree.map(lambda keep, leaf: leaf if keep else jnp.zeros_like(leaf), mask, tree)


def abstract_batch(
    batch_size: int,
    num_points: int,
    num_views: int,
    embedding_size: int,
    mesh: Mesh,
    clip: ClipConfig | None = None,
) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes, types and shardings of a global batch as the pipeline makes it, without making one.

    Args:
      batch_size: rows over all devices (B).
      num_points: points a cloud (N).
      num_views: views a sample (M).
      embedding_size: D, that of the frozen CLIP.
      mesh: that the rows are split over.
      clip: whose towers embed the batch in the step, if any do.
    """
    shapes = {
        "points": ((num_points, 3), jnp.uint16),
        "colors": ((num_points, 3), jnp.uint8),
        "has_text": ((), jnp.bool_),
    }
    if clip is None:
        shapes["view_embeddings"] = ((num_views, embedding_size), jnp.float32)
        shapes["text_embedding"] = ((embedding_size,), jnp.float32)
    else:
        side, channels = clip.vision.image_size, clip.vision.channels
        shapes["view_pixels"] = ((num_views, side, side, channels), jnp.uint8)
        shapes["text_ids"] = ((clip.text.context_length,), jnp.int32)
    rows = batch_sharding(mesh)
    return {
        name: jax.ShapeDtypeStruct((batch_size, *shape), kind, sharding=rows)
        for name, (shape, kind) in shapes.items()
    }


def compile_train_step(
    config: StepConfig, mesh: Mesh, state: TrainState, towers: Towers | None = None
) -> Callable[..., tuple[TrainState, Metrics]]:
    """`train_step` under `jax.jit`; the old state's memory is reused for the new one.

    Args:
      config: of the step.
      mesh: that batches are split over.
      state: may be abstract; the new state keeps its shardings.
      towers: embed a batch of renders and texts first.

    Returns:
      A function of state and batch; with `towers` of state, batch and their weights.
    """
    structure, _, _ = model_structure(config.model)
    update = functools.partial(train_step, structure=structure, config=config, mesh=mesh)

    def step_with_towers(state: TrainState, batch: Batch, clip: Tree):
        with jax.named_scope("towers"):
            batch = towers.embed(clip, batch, mesh)
        return update(state, batch)

    step = update if towers is None else step_with_towers
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    return jax.jit(step, donate_argnums=0, out_shardings=(shardings, None))
