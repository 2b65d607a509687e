"""Loss and gradient of one global batch: in one go, or accumulated over micro-batches.

A contrastive loss is no mean over rows, so the mean of micro-batches' gradients is not the gradient
of the whole batch.  Embeddings are small, though: they are computed for every micro-batch and kept,
the loss and its gradient with respect to them are those of the whole batch, and a second pass over
the micro-batches carries that gradient on to the parameters (GradCache, arXiv 2101.06983).

BatchNorm sees micro-batches: each is normalised with its own statistics, over all devices, and both
passes with the same ones.  Where it uses its running statistics instead, nothing else ties the rows
of a batch together, and the accumulated gradient is that of the whole batch.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, PyTree, Shaped

from mixcon3d_jax.models.variables import Tree
from mixcon3d_jax.sharding import MESH_AXES, state_shardings

Embeddings = dict[str, Float[Array, "batch D"]]
Terms = dict[str, dict[str, Float[Array, ""]]]
# Parameters and rows -> the rows' embeddings and the running statistics after them.
Embed = Callable[[Tree, PyTree[Shaped[Array, "batch ..."]]], tuple[Embeddings, Tree]]
# All embeddings and the temperatures' logarithms -> the loss and what it is made of.
Loss = Callable[[Embeddings, dict[str, Float[Array, ""]]], tuple[Float[Array, ""], Terms]]


class Gradients(NamedTuple):
    """What a global batch says: its loss, the terms, the running statistics, the gradient."""

    loss: Float[Array, ""]
    terms: Terms
    stats: Tree
    grads: Tree


def whole_batch_gradients(
    embed: Embed, loss: Loss, params: Tree, rows: PyTree[Shaped[Array, "batch ..."]]
) -> Gradients:
    """All rows in one go.

    Args:
      embed: of any number of rows.
      loss: of the embeddings of all rows.
      params: of the model, `logit_scales` among them.
      rows: what `embed` takes.
    """

    def objective(params):
        embeddings, stats = embed(params, rows)
        value, terms = loss(embeddings, params["logit_scales"])
        return value, (terms, stats)

    (value, (terms, stats)), grads = jax.value_and_grad(objective, has_aux=True)(params)
    return Gradients(value, terms, stats, grads)


def accumulated_gradients(
    embed: Embed,
    loss: Loss,
    params: Tree,
    rows: PyTree[Shaped[Array, "batch ..."]],
    *,
    accum_steps: int,
    mesh: Mesh,
) -> Gradients:
    """The same over `accum_steps` micro-batches, each with an equal part of every device's rows.

    The running statistics are the mean of those after each micro-batch, all from the same start:
    they are updated once, with the mean of the micro-batches' statistics, so that BatchNorm's
    momentum means the same for any number of micro-batches.
    """
    parts = _split(rows, accum_steps, mesh)
    _, (embeddings, stats) = jax.lax.scan(lambda _, part: (None, embed(params, part)), None, parts)
    (value, terms), (slopes, scale_grads) = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(
        _join(embeddings, mesh), params["logit_scales"]
    )
    place = state_shardings({"params": params}, mesh)["params"]

    def add(total, xs):
        part, slopes = xs
        _, pull_back, _ = jax.vjp(lambda params: embed(params, part), params, has_aux=True)
        total = jax.tree.map(jnp.add, total, pull_back(slopes)[0])
        return jax.lax.with_sharding_constraint(total, place), None

    zeros = jax.lax.with_sharding_constraint(jax.tree.map(jnp.zeros_like, params), place)
    grads, _ = jax.lax.scan(add, zeros, (parts, _split(slopes, accum_steps, mesh)))
    stats = jax.tree.map(lambda each: each.mean(axis=0), stats)
    return Gradients(value, terms, stats, grads | {"logit_scales": scale_grads})


def _split(rows, count, mesh):
    """(batch, ...) -> (count, batch / count, ...); every row stays on its device."""

    def split(rows):
        return jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), rows)

    return jax.shard_map(split, mesh=mesh, in_specs=P(MESH_AXES), out_specs=P(None, MESH_AXES))(
        rows
    )


def _join(parts, mesh):
    """The inverse of `_split`: rows in their old order."""

    def join(parts):
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), parts)

    return jax.shard_map(join, mesh=mesh, in_specs=P(None, MESH_AXES), out_specs=P(MESH_AXES))(
        parts
    )
