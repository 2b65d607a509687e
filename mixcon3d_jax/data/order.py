"""In which order a run goes through its records."""

import dataclasses
import functools

import numpy as np
from jaxtyping import Int

# Orders must not depend on how other random numbers are used.
_ORDER_STREAM = 0x0EDE
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


@functools.lru_cache(maxsize=_KEPT_EPOCHS)
def _permutation(count: int, seed: int, epoch: int) -> Int[np.ndarray, "count"]:
    return np.random.default_rng([seed, _ORDER_STREAM, epoch]).permutation(count)
