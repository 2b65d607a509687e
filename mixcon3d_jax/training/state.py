"""The training state: everything that a step reads and writes."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Int

from mixcon3d_jax.models.mixcon3d import MixCon3D, MixCon3DConfig
from mixcon3d_jax.models.variables import Tree, split_module
from mixcon3d_jax.sharding import state_shardings


@flax.struct.dataclass
class TrainState:
    """Weights, running statistics, moments and their averages after `step` updates.

    `params`, `stats`, `ema_params` and `ema_stats` are nested dicts with the module's names.
    """

    step: Int[Array, ""]
    params: Tree
    stats: Tree
    opt_state: Any
    ema_params: Tree
    ema_stats: Tree


def new_state(params: Tree, stats: Tree, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first step; the averages start at the weights."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        stats=stats,
        opt_state=optimizer.init(params),
        ema_params=jax.tree.map(jnp.copy, params),
        ema_stats=jax.tree.map(jnp.copy, stats),
    )


def abstract_state(
    config: MixCon3DConfig, optimizer: optax.GradientTransformation, mesh: Mesh
) -> TrainState:
    """Shapes, types and shardings of the state, without computing it."""
    shapes = jax.eval_shape(lambda: _random_state(config, optimizer, 0))
    return jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        shapes,
        state_shardings(shapes, mesh),
    )


def initial_state(
    config: MixCon3DConfig, optimizer: optax.GradientTransformation, mesh: Mesh, seed: int
) -> TrainState:
    """Random weights, made on their devices."""
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract_state(config, optimizer, mesh))
    make = jax.jit(lambda: _random_state(config, optimizer, seed), out_shardings=shardings)
    return make()


def _random_state(
    config: MixCon3DConfig, optimizer: optax.GradientTransformation, seed: int
) -> TrainState:
    _, params, stats = split_module(MixCon3D(config, rngs=nnx.Rngs(params=seed)))
    return new_state(params, stats, optimizer)
