"""Hard negatives: batches made of groups of similar shapes (OpenShape, arXiv 2305.10764, 3.3)."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from mixcon3d_jax.data import schema

# Neighbours that a table has of every shape, and that a group's other members are drawn from.
NUM_NEIGHBORS = 31
# Groups must not depend on how other random numbers are used.
_GROUP_STREAM = 0x6E6E


@dataclasses.dataclass(frozen=True)
class NeighborGroups:
    """Endless rows in groups: a random shape, then `group - 1` of its neighbours, all different.

    A group follows from the seed and its number.  Where the split has too few of a shape's
    neighbours, random shapes fill up the group.

    Attributes:
      table: for each record the positions of its nearest ones in the split, -1 for one that the
        split lacks.
      group: rows a group.
      seed: of every choice.
    """

    table: Int32[np.ndarray, "records neighbors"]
    group: int
    seed: int

    def __getitem__(self, row: int) -> int:
        """The position of the record that comes as number `row` of the run."""
        number, member = divmod(row, self.group)
        rng = np.random.default_rng([self.seed, _GROUP_STREAM, number])
        first = rng.integers(len(self.table))
        nearest = self.table[first]
        members = [first, *rng.permutation(nearest[nearest >= 0])[: self.group - 1]]
        if len(members) < self.group:
            # Enough that those that are members already can be left out.
            others = rng.choice(len(self.table), size=self.group, replace=False)
            members += [other for other in others if other not in members]
        return int(members[member])


def neighbors_file(index_file: Path) -> Path:
    """Where the neighbour table of a split's index lies: an array (records, 31) of positions.

    Its name has the index's checksum, so that it is not taken for another index' table.
    """
    digest = hashlib.sha256(index_file.read_bytes()).hexdigest()
    return index_file.with_suffix(f".neighbors-{digest[:12]}.npy")


def open_neighbors(
    index_file: Path, num_records: int, group: int
) -> Int32[np.ndarray, "records neighbors"]:
    """The neighbour table of a split, read where it is needed.

    Args:
      index_file: of the split.
      num_records: of the split.
      group: rows a group, which have to be different records.

    Raises:
      SchemaError: if there is none for this index, it is damaged, or the split is too small.
    """
    if group > num_records:
        raise schema.SchemaError(
            f"config.data.neighbor_group is {group}, but {index_file} has {num_records} records"
        )
    if not index_file.exists():
        raise schema.SchemaError(
            f"{index_file} is missing, without which there are no neighbours: set "
            "config.data.neighbor_group=1, or use data with splits (`python -m data_prep.splits`)"
        )
    path = neighbors_file(index_file)
    try:
        table = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise schema.SchemaError(
            f"{path} can't be read ({error}); make it with `python -m data_prep.splits "
            "--neighbors`, or set config.data.neighbor_group=1"
        ) from error
    if table.shape != (num_records, NUM_NEIGHBORS):
        raise schema.SchemaError(
            f"{path} has shape {table.shape} instead of {(num_records, NUM_NEIGHBORS)}; make it "
            "again with `python -m data_prep.splits --neighbors`"
        )
    return table
