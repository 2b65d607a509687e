"""Farthest point sampling and ball query (PointNet++, arXiv 1706.02413, section 3.2)."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def _squared_distance(
    a: Float[Array, "*batch 3"], b: Float[Array, "*batch 3"]
) -> Float[Array, "*batch"]:
    # By subtraction, not by |a|^2 - 2ab + |b|^2: a matrix product is rounded to bfloat16 on a TPU,
    # and cancels badly everywhere.
    return jnp.sum(jnp.square(a.astype(jnp.float32) - b.astype(jnp.float32)), axis=-1)


def farthest_point_sample(
    points: Float[Array, "batch points 3"], num_samples: int
) -> Int[Array, "batch samples"]:
    """Indices of points, each the farthest from those chosen before it.

    Starts at point 0: the clouds are in random order, so any fixed start is a random one.  Ties go
    to the lower index.
    """

    def sample(cloud: Float[Array, "points 3"]) -> Int[Array, "samples"]:
        def choose(carry, _):
            nearest, chosen = carry
            nearest = jnp.minimum(nearest, _squared_distance(cloud, cloud[chosen]))
            return (nearest, jnp.argmax(nearest).astype(jnp.int32)), chosen

        start = (jnp.full(cloud.shape[0], jnp.inf, jnp.float32), jnp.int32(0))
        return jax.lax.scan(choose, start, length=num_samples)[1]

    return jax.vmap(sample)(jax.lax.stop_gradient(points))


def ball_query(
    points: Float[Array, "batch points 3"],
    centers: Float[Array, "batch samples 3"],
    radius: float,
    num_neighbors: int,
) -> Int[Array, "batch samples neighbors"]:
    """The first `num_neighbors` points, in index order, within `radius` of each center.

    A row with fewer points in the ball is filled up with its first one.  Every center must be one
    of the points, so that no ball is empty.
    """
    points, centers = jax.lax.stop_gradient((points, centers))
    distance = _squared_distance(points[:, None], centers[:, :, None])
    # The k-th neighbor is the first index at which k points have been inside.
    count = jnp.cumsum(distance <= jnp.float32(radius**2), axis=-1, dtype=jnp.int32)
    wanted = jnp.arange(1, num_neighbors + 1, dtype=jnp.int32)
    find = functools.partial(jnp.searchsorted, v=wanted, method="scan_unrolled")
    neighbors = jax.vmap(jax.vmap(find))(count).astype(jnp.int32)
    return jnp.where(neighbors == points.shape[1], neighbors[..., :1], neighbors)


def gather_points(
    values: Float[Array, "batch points channels"], index: Int[Array, "batch *shape"]
) -> Float[Array, "batch *shape channels"]:
    """Rows of `values` at `index`, cloud by cloud."""
    return jax.vmap(lambda rows, at: rows[at])(values, index)
