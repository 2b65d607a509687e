"""What a run trains on, and in which order."""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int
from ml_collections import ConfigDict

from mixcon3d_jax.buckets import is_remote
from mixcon3d_jax.data.neighbors import NeighborGroups, neighbors_file, open_neighbors
from mixcon3d_jax.data.order import EpochOrder, PartedOrder
from mixcon3d_jax.data.pipeline import PipelineConfig, ShuffledTargets
from mixcon3d_jax.data.schema import DatasetCard
from mixcon3d_jax.data.splits import SplitIndex, index_file, locate_split, open_training_data
from mixcon3d_jax.data.staging import stage_split
from mixcon3d_jax.training.run_config import ConfigError, data_root, train_pipeline
from mixcon3d_jax.training.targets import TargetClip


@dataclasses.dataclass(frozen=True)
class RunData:
    """The records of a run.

    Attributes:
      source: stored examples.
      order: row of the run -> position of its record in `source`.
      card: what their data sets agree on.
      pipeline: how records become samples.
      checksums: what tells all of that from any other.
    """

    source: Sequence[dict[str, Any]]
    order: EpochOrder | NeighborGroups | PartedOrder
    card: DatasetCard
    pipeline: PipelineConfig
    checksums: Mapping[str, str]

    def ids(self, rows: Iterable[int]) -> list[str]:
        """The ids of the records that come as these rows of the run."""
        return [self.source[self.order[int(row)]]["id"].decode() for row in rows]


def open_run_data(
    config: ConfigDict,
    rows: Int[np.ndarray, "rows"] | None = None,
    clip: TargetClip | None = None,
) -> RunData:
    """Opens what `config.data` names, after staging it if it is in a bucket.

    Args:
      config: of the run.
      rows: of a batch that this process holds, so that it stages no more than their records;
        default all.
      clip: that embeds in the step, if one does.

    Raises:
      InputError: if there is no such data, or it doesn't fit the run.
    """
    data, root = config.data, data_root(config)
    if is_remote(data.root):

        def needed(index: SplitIndex) -> Int[np.ndarray, "needed"]:
            if rows is None or data.parts == 1:
                return np.arange(len(index.position))
            return _parted_order(config, index).positions(rows)

        with_neighbors = data.neighbor_group > 1
        stage_split(data.root, root, data.split, needed, neighbors=with_neighbors)
    opened = open_training_data(root, data.split, config.clip.id, config.clip.embedding_size)
    source, checksums = opened.source, dict(opened.checksums)
    order = EpochOrder(len(source), config.seed, data.reshuffle)
    if data.parts > 1:
        order = _parted_order(config, locate_split(root, data.split)[0])
    if data.neighbor_group > 1:
        index = index_file(root, data.split)
        table = open_neighbors(index, len(source), data.neighbor_group)
        order = NeighborGroups(table, data.neighbor_group, config.seed)
        content = neighbors_file(index).read_bytes()
        checksums["neighbors"] = hashlib.sha256(content).hexdigest()
    if data.shuffle_targets:
        source = ShuffledTargets(source, config.seed)
    pipeline = train_pipeline(config)
    if clip is not None:
        pipeline = dataclasses.replace(pipeline, towers=clip.inputs)
        checksums["clip"] = clip.fingerprint
    return RunData(source, order, opened.card, pipeline, checksums)


def _parted_order(config: ConfigDict, index: SplitIndex) -> PartedOrder:
    data, batch = config.data, config.optim.batch_size
    if len(index.position) < data.parts:
        raise ConfigError(
            f"config.data.parts is {data.parts}, but split {data.split!r} has "
            f"{len(index.position)} records"
        )
    stored = np.lexsort((index.position, index.dataset))
    return PartedOrder(stored, data.parts, batch, config.seed, data.reshuffle)
