"""Loss and gradient of one global batch: in one go, or accumulated over micro-batches.

A contrastive loss is no mean over rows, so the mean of micro-batches' gradients is not the gradient
of the whole batch.  Embeddings are small, though: they are computed for every micro-batch and kept,
the loss and its gradient with respect to them are those of the whole batch, and a second pass over
the micro-batches carries that gradient on to the parameters (GradCache, arXiv 2101.06983).

Which points make up a cloud's groups takes long to find and depends on no parameter.  The second
pass takes it from the first, which keeps it for all rows: `patches` x (`neighbors` + 1) indices a
cloud, of two bytes up to 65,536 points and four beyond: 33 KB at scaling 3, 67 KB at scaling 6,
where the cloud itself, of 10,000 points, has 90 KB.

BatchNorm sees micro-batches: each is normalised with its own statistics, over all devices, and both
passes with the same ones.  Where it uses its running statistics instead, nothing else ties the rows
of a batch together, and the accumulated gradient is that of the whole batch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float

from mixcon3d_jax.models.pointbert import Groups
from mixcon3d_jax.models.variables import Tree
from mixcon3d_jax.sharding import MESH_AXES, state_shardings

Embeddings = dict[str, Float[Array, "batch D"]]
Terms = dict[str, dict[str, Float[Array, ""]]]
# Arrays, or trees of arrays, with a row for each row of the batch.
Rows = dict[str, Any]
# Parameters and rows, which have `groups` where they are known -> the rows' embeddings and the
# running statistics after them.
Embed = Callable[[Tree, Rows], tuple[Embeddings, Tree]]
# All embeddings and the temperatures' logarithms -> the loss and what it is made of.
Loss = Callable[[Embeddings, dict[str, Float[Array, ""]]], tuple[Float[Array, ""], Terms]]


class Gradients(NamedTuple):
    """What a global batch says: its loss, the terms, the running statistics, the gradient."""

    loss: Float[Array, ""]
    terms: Terms
    stats: Tree
    grads: Tree


def whole_batch_gradients(embed: Embed, loss: Loss, params: Tree, rows: Rows) -> Gradients:
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
    group: Callable[[Rows], Groups],
    loss: Loss,
    params: Tree,
    rows: Rows,
    *,
    accum_steps: int,
    mesh: Mesh,
) -> Gradients:
    """The same over `accum_steps` micro-batches, each with an equal part of every device's rows.

    The running statistics are the mean of those after each micro-batch, all from the same start:
    they are updated once, with the mean of the micro-batches' statistics, so that BatchNorm's
    momentum means the same for any number of micro-batches.

    Args:
      embed, loss, params, rows: as for the whole batch.
      group: the groups of rows' clouds, which `embed` then finds in them as `groups`.
      accum_steps: micro-batches; they divide the rows of each device.
      mesh: that the rows are split over.
    """
    parts = _split(rows, accum_steps, mesh)

    def embed_part(_, part):
        groups = group(part)
        return None, (embed(params, part | {"groups": groups}), groups)

    _, ((embeddings, stats), groups) = jax.lax.scan(embed_part, None, parts)
    groups = jax.lax.with_sharding_constraint(groups, NamedSharding(mesh, P(None, MESH_AXES)))
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
    parts = parts | {"groups": groups}
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
