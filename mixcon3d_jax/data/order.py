"""In which order a run goes through its records."""

import dataclasses
import functools

import numpy as np
from jaxtyping import Int

# Orders must not depend on how other random numbers are used.
_ORDER_STREAM = 0x0EDE
_PART_STREAM = 0x9A27
_KEPT_EPOCHS = 2  # rows around the end of one epoch are asked for in any order


@dataclasses.dataclass(frozen=True)
class EpochOrder:
    """Every record once an epoch, in random order.

    Attributes:
      num_records: of the split.
      seed: of the orders.
      reshuffle: whether every epoch has an order of its own, or that of the first one.
    """

    num_records: int
    seed: int
    reshuffle: bool = True

    def __getitem__(self, row: int) -> int:
        """The position of the record that comes as number `row` of the run."""
        epoch, place = divmod(row, self.num_records)
        order = _permutation(self.num_records, self.seed, epoch if self.reshuffle else 0)
        return int(order[place])


@dataclasses.dataclass(frozen=True)
class PartedOrder:
    """Every record once an epoch, each part of the records in its own rows of every batch.

    The records, as they are stored, are cut into `parts` ranges of (nearly) the same size.  Part
    `l` of `L` feeds rows `[l*B/L, (l+1)*B/L)` of every batch of `B`, in random order, epoch by
    epoch of its own.  Batches are the same for any number of processes, and a host whose devices
    hold some rows of a batch needs the records of their parts alone.

    Attributes:
      stored: the positions of all records, in the order in which they are stored.
      parts: L.
      batch: B, which L divides.
      seed: of the orders.
      reshuffle: whether every epoch has an order of its own, or that of the first one.

    Raises:
      ValueError: if L doesn't divide B, or there are fewer records than parts.
    """

    stored: Int[np.ndarray, "records"]
    parts: int
    batch: int
    seed: int
    reshuffle: bool = True

    def __post_init__(self):
        if self.batch % self.parts or len(self.stored) < self.parts:
            raise ValueError(f"{self.parts} parts, {self.batch} rows, {len(self.stored)} records")
        kept = functools.lru_cache(maxsize=_KEPT_EPOCHS * self.parts)(_part_permutation)
        object.__setattr__(self, "_permutation", kept)

    def __getitem__(self, row: int) -> int:
        """The position of the record that comes as number `row` of the run."""
        step, place = divmod(row, self.batch)
        rows = self.batch // self.parts
        part, inside = divmod(place, rows)
        first, last = self._range(part)
        epoch, number = divmod(step * rows + inside, last - first)
        order = self._permutation(last - first, self.seed, part, epoch if self.reshuffle else 0)
        return int(self.stored[first + order[number]])

    def positions(self, batch_rows: Int[np.ndarray, "rows"]) -> Int[np.ndarray, "needed"]:
        """The positions of all records that ever come in these rows of a batch."""
        parts = np.unique(np.asarray(batch_rows) // (self.batch // self.parts))
        return np.concatenate([self.stored[slice(*self._range(int(part)))] for part in parts])

    def _range(self, part: int) -> tuple[int, int]:
        count = len(self.stored)
        return part * count // self.parts, (part + 1) * count // self.parts


def _part_permutation(count: int, seed: int, part: int, epoch: int) -> Int[np.ndarray, "count"]:
    return np.random.default_rng([seed, _PART_STREAM, part, epoch]).permutation(count)


@functools.lru_cache(maxsize=_KEPT_EPOCHS)
def _permutation(count: int, seed: int, epoch: int) -> Int[np.ndarray, "count"]:
    return np.random.default_rng([seed, _ORDER_STREAM, epoch]).permutation(count)
