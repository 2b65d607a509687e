"""Contrastive terms over negatives that travel: no device ever holds more than a block of logits.

The devices form a ring.  A block of candidates goes once around it and meets every device's
queries; both directions of the loss come of the one meeting.  With S = Q B^T the logits of local
queries Q and visiting candidates B, the rows of S belong to the log-sum-exp of the queries, which
stays at home, its columns to that of the candidates, which travels with them.  A second round does
the backward pass: the logits are computed anew, and the candidates' gradient travels with them.
So memory is O(local x D), whatever the number of devices.

The log-sum-exp in pieces is that of "Online normalizer calculation for softmax"
(https://arxiv.org/abs/1805.02867); travelling blocks are those of Ring Attention
(https://arxiv.org/abs/2310.01889).
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

# A masked logit.  Finite: with -inf a row without any partner would have NaN gradients.
_FLOOR = -1e30


def ring_contrastive_sums(
    queries: Float[Array, "terms local D"],
    candidates: Float[Array, "local D"],
    logit_scales: Float[Array, "terms"],
    mask: Bool[Array, "local"],
    axis_names: tuple[str, ...] = (),
    logit_block: int = 1024,
) -> dict[str, Float[Array, "terms"]]:
    """`contrastive_sums` of several terms with the same candidates, which travel once for all.

    Args:
      queries, candidates: unit vectors; row i of each of the queries belongs to row i of the
        candidates.
      logit_scales: natural logarithms of the factors on the terms' cosines.
      mask: rows that take part.
      axis_names: mesh axes that the batch is split over (inside `jax.shard_map`).
      logit_block: a device holds at most so many rows of `local` logits: as many as the largest
        divisor of `local` that is not above it.

    Returns:
      `loss`, `correct` and `count` as `contrastive_sums` has them, for each term.
    """
    local = candidates.shape[0]
    block = max(size for size in range(1, min(logit_block, local) + 1) if local % size == 0)
    ring = _Ring(axis_names, block)
    # With the scale in the queries, their gradient has that of the temperature in it.
    scaled = jnp.exp(logit_scales.astype(jnp.float32))[:, None, None] * queries
    loss, correct = _sums(ring, scaled, candidates, mask)
    count = jnp.broadcast_to(jnp.sum(mask).astype(jnp.float32), loss.shape)
    return {"loss": loss, "correct": correct, "count": count}


@dataclasses.dataclass(frozen=True)
class _Ring:
    """The devices that candidates travel over, and how many queries meet them at once."""

    axis_names: tuple[str, ...]
    block: int

    def turns(self) -> Int[Array, "devices"]:
        return jnp.arange(self._size())

    def place(self) -> Int[Array, ""]:
        """This device's number."""
        return jax.lax.axis_index(self.axis_names) if self.axis_names else jnp.int32(0)

    def home_of_visitor(self, turn: Int[Array, ""]) -> Int[Array, ""]:
        """The number of the device whose candidates are here after so many turns."""
        return (self.place() - turn) % self._size()

    def send_on(self, tree):
        """Everything moves to the next device."""
        if not self.axis_names:
            return tree
        size = self._size()
        return jax.lax.ppermute(tree, self.axis_names, [(i, (i + 1) % size) for i in range(size)])

    def varying(self, tree):
        """Marks constants as what they are about to become: different on every device."""
        return jax.lax.pcast(tree, self.axis_names, to="varying") if self.axis_names else tree

    def blocks(self, rows: Array) -> Array:
        """(terms, local, ...) or (local, ...) with `local` split into blocks of queries."""
        axis = rows.ndim - 1 if rows.ndim < 3 else 1
        shape = rows.shape
        return rows.reshape(*shape[:axis], -1, self.block, *shape[axis + 1 :])

    def _size(self) -> int:
        return jax.lax.axis_size(self.axis_names) if self.axis_names else 1


class _Peaks(NamedTuple):
    """The softmax over each of some rows of logits, as far as they have been seen."""

    top: Float[Array, "*rows"]  # the largest logit
    total: Float[Array, "*rows"]  # the sum of exp(logit - top)
    index: Int[Array, "*rows"]  # the column of the first of the largest

    @classmethod
    def unseen(cls, *shape: int) -> "_Peaks":
        return cls(jnp.full(shape, _FLOOR), jnp.zeros(shape), jnp.zeros(shape, jnp.int32))

    def seeing(self, logits: Float[Array, "*rows columns"], first: Int[Array, ""]) -> "_Peaks":
        """After more columns, of which `first` is the number of the first."""
        top = jnp.maximum(self.top, logits.max(axis=-1))
        total = self.total * jnp.exp(self.top - top)
        total += jnp.exp(logits - top[..., None]).sum(axis=-1)
        index = first + jnp.argmax(logits, axis=-1).astype(jnp.int32)
        # Columns come in any order; of equal logits the one with the lowest number counts.
        lower = (logits.max(axis=-1) == self.top) & (index < self.index)
        index = jnp.where((top > self.top) | lower, index, self.index)
        return _Peaks(top, total, index)

    def cross_entropy(self, logit: Float[Array, "*rows"]) -> Float[Array, "*rows"]:
        """Of the row's own logit.  The large numbers are subtracted first: less is rounded."""
        return (self.top - logit) + jnp.log(self.total)

    def softmax(self, logits: Float[Array, "*rows columns"]) -> Float[Array, "*rows columns"]:
        return jnp.exp(logits - self.top[..., None]) / self.total[..., None]


def _logits(
    queries: Float[Array, "block D"],
    candidates: Float[Array, "local D"],
    both: Bool[Array, "block local"],
) -> Float[Array, "block local"]:
    product = jnp.matmul(queries, candidates.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.where(both, product, _FLOOR)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _sums(
    ring: _Ring,
    queries: Float[Array, "terms local D"],
    candidates: Float[Array, "local D"],
    mask: Bool[Array, "local"],
) -> tuple[Float[Array, "terms"], Float[Array, "terms"]]:
    """Sums of the terms' losses and of their right answers over the local rows."""
    return _forward(ring, queries, candidates, mask)[0]


def _forward(ring, queries, candidates, mask):
    terms, local, _ = queries.shape
    offset = ring.blocks(jnp.arange(local))
    blocks = ring.blocks(queries)

    def turn(carry, number):
        (visitors, visitors_mask, columns), rows, own = carry
        home = ring.home_of_visitor(number)

        def meet_block(columns, xs):
            queries, rows, offset = xs
            logits = _logits(queries, visitors, mask[offset][:, None] & visitors_mask)
            partner = jnp.take_along_axis(logits, offset[:, None], axis=1)[:, 0]
            columns = columns.seeing(logits.T, ring.place() * local + offset[0])
            return columns, (rows.seeing(logits, home * local), partner)

        def meet_term(xs):
            blocks, rows, columns = xs
            return jax.lax.scan(meet_block, columns, (blocks, rows, offset))

        columns, (rows, partner) = jax.lax.map(meet_term, (blocks, rows, columns))
        own = jnp.where(home == ring.place(), partner, own)
        return (ring.send_on((visitors, visitors_mask, columns)), rows, own), None

    rows, columns = _Peaks.unseen(*blocks.shape[:3]), _Peaks.unseen(terms, local)
    rows, columns, own = ring.varying((rows, columns, jnp.zeros(blocks.shape[:3])))
    start = ((candidates, mask, columns), rows, own)
    ((_, _, columns), rows, own), _ = jax.lax.scan(turn, start, ring.turns())
    rows, own = jax.tree.map(lambda x: x.reshape(terms, local), (rows, own))

    loss = correct = 0.0
    label = ring.place() * local + jnp.arange(local)
    for peaks in (rows, columns):
        loss += jnp.sum(jnp.where(mask, peaks.cross_entropy(own), 0.0), axis=1) / 2
        correct += jnp.sum(mask & (peaks.index == label), axis=1) / 2
    return (loss, correct), (queries, candidates, mask, rows, columns)


def _backward(ring, saved, cotangents):
    queries, candidates, mask, rows, columns = saved
    local = candidates.shape[0]
    offset = ring.blocks(jnp.arange(local))
    blocks, rows = ring.blocks(queries), jax.tree.map(ring.blocks, rows)

    def turn(carry, number):
        (visitors, visitors_mask, columns, visitors_grad), grads = carry
        at_home = ring.home_of_visitor(number) == ring.place()

        def meet_block(visitors_grad, xs, columns, cotangent):
            queries, grad, rows, offset = xs
            both = mask[offset][:, None] & visitors_mask
            logits = _logits(queries, visitors, both)
            softmaxes = rows.softmax(logits) + columns.softmax(logits.T).T
            partners = at_home & (offset[:, None] == jnp.arange(local))
            slope = cotangent / 2 * jnp.where(both, softmaxes - 2.0 * partners, 0.0)
            product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
            return visitors_grad + product(slope.T, queries), grad + product(slope, visitors)

        def meet_term(visitors_grad, xs):
            *of_blocks, columns, cotangent = xs
            meet = functools.partial(meet_block, columns=columns, cotangent=cotangent)
            return jax.lax.scan(meet, visitors_grad, (*of_blocks, offset))

        of_terms = (blocks, grads, rows, columns, cotangents[0])
        visitors_grad, grads = jax.lax.scan(meet_term, visitors_grad, of_terms)
        travelling = (visitors, visitors_mask, columns, visitors_grad)
        return (ring.send_on(travelling), grads), None

    zeros = ring.varying((jnp.zeros(candidates.shape), jnp.zeros(blocks.shape)))
    start = ((candidates, mask, columns, zeros[0]), zeros[1])
    ((*_, candidates_grad), grads), _ = jax.lax.scan(turn, start, ring.turns())
    return grads.reshape(queries.shape), candidates_grad, None


_sums.defvjp(_forward, _backward)
