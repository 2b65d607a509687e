"""What a run trains on, and in which order."""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from mixcon3d_jax.data.neighbors import NeighborGroups, neighbors_file, open_neighbors
from mixcon3d_jax.data.order import EpochOrder
from mixcon3d_jax.data.pipeline import ShuffledTargets
from mixcon3d_jax.data.schema import DatasetCard
from mixcon3d_jax.data.splits import index_file, open_training_data
from mixcon3d_jax.training.run_config import data_root


@dataclasses.dataclass(frozen=True)
class RunData:
    """The records of a run.

    Attributes:
      source: stored examples.
      order: row of the run -> position of its record in `source`.
      card: what their data sets agree on.
      checksums: what tells them, and the order, from any others.
    """

    source: Sequence[dict[str, Any]]
    order: EpochOrder | NeighborGroups
    card: DatasetCard
    checksums: Mapping[str, str]

    def ids(self, rows: Iterable[int]) -> list[str]:
        """The ids of the records that come as these rows of the run."""
        return [self.source[self.order[int(row)]]["id"].decode() for row in rows]


def open_run_data(config: ConfigDict) -> RunData:
    """Opens what `config.data` names.

    Raises:
      InputError: if there is no such data, or it doesn't fit the run.
    """
    data, root = config.data, data_root(config)
    opened = open_training_data(root, data.split, config.clip.id, config.clip.embedding_size)
    source, checksums = opened.source, dict(opened.checksums)
    order: EpochOrder | NeighborGroups = EpochOrder(len(source), config.seed, data.reshuffle)
    if data.neighbor_group > 1:
        index = index_file(root, data.split)
        table = open_neighbors(index, len(source), data.neighbor_group)
        order = NeighborGroups(table, data.neighbor_group, config.seed)
        content = neighbors_file(index).read_bytes()
        checksums["neighbors"] = hashlib.sha256(content).hexdigest()
    if data.shuffle_targets:
        source = ShuffledTargets(source, config.seed)
    return RunData(source, order, opened.card, checksums)
