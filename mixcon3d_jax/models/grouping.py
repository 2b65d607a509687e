"""Farthest point sampling and ball query (PointNet++, arXiv 1706.02413, section 3.2)."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

_BITS = 32  # of a word


Plane = Float[Array, "*batch"]


def _planes(points: Float[Array, "*batch 3"]) -> list[Plane]:
    """The coordinates, one by one: an axis of three would leave most of a processor's lanes empty.

    Without gradient: indices have none.
    """
    points = jax.lax.stop_gradient(points).astype(jnp.float32)
    return [points[..., axis] for axis in range(3)]


def _squared_distance(a: list[Plane], b: list[Plane]) -> Plane:
    # By subtraction, not by |a|^2 - 2ab + |b|^2: a matrix product is rounded to bfloat16 on a TPU,
    # and cancels badly everywhere.
    x, y, z = (jnp.square(left - right) for left, right in zip(a, b, strict=True))
    return x + y + z


def farthest_point_sample(
    points: Float[Array, "batch points 3"], num_samples: int
) -> Int[Array, "batch samples"]:
    """Indices of points, each the farthest from those chosen before it.

    Starts at point 0: the clouds are in random order, so any fixed start is a random one.  Ties go
    to the lower index.
    """
    planes = _planes(points)

    def choose(carry, _):
        nearest, chosen = carry
        last = [
            jnp.take_along_axis(plane, chosen[:, None], axis=1, mode="promise_in_bounds")
            for plane in planes
        ]
        nearest = jnp.minimum(nearest, _squared_distance(planes, last))
        return (nearest, jnp.argmax(nearest, axis=1).astype(jnp.int32)), chosen

    start = (jnp.full_like(planes[0], jnp.inf), jnp.zeros(len(points), jnp.int32))
    return jax.lax.scan(choose, start, length=num_samples)[1].T


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
    distance = _squared_distance(
        [_by_bits(plane)[:, None] for plane in _planes(points)],
        [plane[:, :, None, None] for plane in _planes(centers)],
    )
    words = _packed(distance <= jnp.float32(radius**2))
    neighbors = _first_bits(words, num_neighbors)
    outside = words.shape[-1] * _BITS
    return jnp.where(neighbors == outside, neighbors[..., :1], neighbors)


def _by_bits(plane: Float[Array, "batch points"]) -> Float[Array, "batch 32 words"]:
    """A coordinate of points by their place in a word, then by word; infinite where none is left.

    The long axis is the last one, so that all lanes of a processor take part in packing.
    """
    missing = -plane.shape[1] % _BITS
    plane = jnp.pad(plane, ((0, 0), (0, missing)), constant_values=jnp.inf)
    return plane.reshape(len(plane), -1, _BITS).swapaxes(1, 2)


def _packed(flags: Bool[Array, "*batch 32 words"]) -> UInt32[Array, "*batch words"]:
    """32 flags a word, the first in the lowest bit."""
    place = jnp.arange(_BITS, dtype=jnp.uint32)[:, None]
    return (flags.astype(jnp.uint32) << place).sum(-2, dtype=jnp.uint32)


def _first_bits(
    words: UInt32[Array, "batch samples words"], count: int
) -> Int[Array, "batch samples count"]:
    """Where the first `count` bits are set; 32 times the number of words where there are fewer."""
    ones = jnp.cumsum(jax.lax.population_count(words).astype(jnp.int32), axis=-1)
    wanted = jnp.arange(1, count + 1, dtype=jnp.int32)
    # The k-th bit is in the first word at whose end k bits have been set.
    find = functools.partial(jnp.searchsorted, v=wanted, method="scan_unrolled")
    at = jax.vmap(jax.vmap(find))(ones).astype(jnp.int32)
    held = jnp.minimum(at, words.shape[-1] - 1)
    word = jnp.take_along_axis(words, held, axis=-1)
    before = jnp.take_along_axis(ones, held, axis=-1) - jax.lax.population_count(word).astype(
        jnp.int32
    )
    return jnp.where(
        at == words.shape[-1],
        words.shape[-1] * _BITS,
        held * _BITS + _place_of_bit(word, wanted - before),
    )


def _place_of_bit(word: UInt32[Array, "..."], rank: Int[Array, "..."]) -> Int[Array, "..."]:
    """Which bit of a word is the `rank`-th, from 1, that is set: by halves."""
    place = jnp.zeros_like(rank)
    for width in (16, 8, 4, 2, 1):
        low = jax.lax.population_count(word & jnp.uint32((1 << width) - 1)).astype(jnp.int32)
        is_above = rank > low
        rank = jnp.where(is_above, rank - low, rank)
        place = jnp.where(is_above, place + width, place)
        word = jnp.where(is_above, word >> width, word)
    return place


def gather_points(
    values: Float[Array, "batch points channels"], index: Int[Array, "batch *shape"]
) -> Float[Array, "batch *shape channels"]:
    """Rows of `values` at `index`, cloud by cloud."""
    return jax.vmap(lambda rows, at: rows[at])(values, index)
