"""Records to batches, with Grain."""

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import grain
import jax
import numpy as np
from jax.sharding import NamedSharding
from jaxtyping import Int

from mixcon3d_jax.data.neighbors import NeighborGroups
from mixcon3d_jax.data.order import EpochOrder, PartedOrder
from mixcon3d_jax.data.sampling import Sample, TowerInputs, ViewPolicy, draw_sample
from mixcon3d_jax.data.text_ids import text_id, text_ids
from mixcon3d_jax.sharding import global_array, local_rows

# Evaluation must not depend on how training's random numbers are used.
_TRAINING_STREAM = 0x7EA1
_EVALUATION_STREAM = 0x5EED


@dataclasses.dataclass(frozen=True)
class PipelineConfig:
    """How records become samples.

    Attributes:
      num_points: points a sample.
      views: which view embeddings it takes; None for records that have none.
      seed: of every random choice.
      num_threads: threads that read and decode.
      towers: of the CLIP that embeds views and texts in the step; None takes stored embeddings.
    """

    num_points: int
    views: ViewPolicy | None
    seed: int
    num_threads: int = 4
    towers: TowerInputs | None = None


@dataclasses.dataclass(frozen=True)
class TrainingRows(Sequence):
    """The samples of one process, endlessly: its rows of each global batch.

    A row follows from the seed and its number in the run alone.  Grain's own slicing strides, which
    would permute the rows when the number of processes changes, and its shuffling takes as long as
    drawing the points.
    """

    source: Sequence[dict[str, Any]]
    order: EpochOrder | NeighborGroups | PartedOrder
    config: PipelineConfig
    global_batch: int
    rows: Int[np.ndarray, "rows"]

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: int) -> Sample:
        batch, row = divmod(index, len(self.rows))
        number = batch * self.global_batch + int(self.rows[row])
        rng = np.random.default_rng([self.config.seed, _TRAINING_STREAM, number])
        example = self.source[self.order[number]]
        config = self.config
        return draw_sample(example, config.num_points, config.views, rng, config.towers)


@dataclasses.dataclass(frozen=True)
class ShuffledTargets:
    """A source whose records have the views and texts of another record, drawn once.

    The control experiment: nothing can be learned about shapes from it.  Where the texts come from
    (`dataset`, `gpt4_flag`) goes with them.
    """

    source: Sequence[dict[str, Any]]
    seed: int

    def __post_init__(self):
        permutation = np.random.default_rng(self.seed).permutation(len(self.source))
        object.__setattr__(self, "_other", permutation)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        shape = self.source[index]
        targets = self.source[int(self._other[index])]
        own = ("id", "points", "points_low", "points_step", "colors")
        return {**targets, **{key: shape[key] for key in own}}


def train_batches(
    source: Sequence[dict[str, Any]],
    config: PipelineConfig,
    global_batch: int,
    sharding: NamedSharding,
    start_step: int,
    order: EpochOrder | NeighborGroups | PartedOrder,
) -> Iterator[dict[str, jax.Array]]:
    """Endless global batches from `start_step` on.

    The batch of a step follows from the seed and the step alone: rows and their order are the same
    for any number of processes, threads and devices.

    Args:
      source: stored examples.
      config: how they become samples.
      global_batch: rows of a batch, over all processes.
      sharding: of a batch.
      start_step: the first batch is that of this step.
      order: row of the run -> position of its record.
    """
    rows = local_rows(sharding, global_batch)
    samples = TrainingRows(source, order, config, global_batch, rows)
    batches = (
        grain.MapDataset.source(samples)
        .batch(len(rows), drop_remainder=True)[start_step:]
        .to_iter_dataset(grain.ReadOptions(num_threads=config.num_threads, prefetch_buffer_size=4))
    )
    for batch in batches:
        yield {
            name: global_array(array, rows, sharding, global_batch) for name, array in batch.items()
        }


def evaluation_batches(
    source: Sequence[dict[str, Any]],
    labels: np.ndarray,
    config: PipelineConfig,
    global_batch: int,
    sharding: NamedSharding,
) -> Iterator[dict[str, jax.Array]]:
    """Every record once, in order; the last batch is filled up with rows whose `mask` is False.

    A record's random choices follow from the seed and its position, so that figures don't depend
    on batch size or device count.  Batches also have `label` (B,), `mask` (B,); `text_id` (B, 2),
    of the drawn text, and `text_ids` (B, ids, 2), of all texts of a record (see `data.text_ids`).
    """
    rows = local_rows(sharding, global_batch)
    for start in range(0, len(source), global_batch):
        wanted = start + rows
        index = np.minimum(wanted, len(source) - 1)
        samples = [evaluation_sample(source, int(i), config) for i in index]
        batch = {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}
        batch["label"] = labels[index].astype(np.int32)
        batch["mask"] = wanted < len(source)
        yield {
            name: global_array(array, rows, sharding, global_batch) for name, array in batch.items()
        }


def evaluation_sample(
    source: Sequence[dict[str, Any]], index: int, config: PipelineConfig
) -> Sample:
    """What evaluation takes of the record at `index`; it follows from the seed and the position."""
    rng = np.random.default_rng([config.seed, _EVALUATION_STREAM, index])
    example = source[index]
    sample = draw_sample(example, config.num_points, config.views, rng)
    ids = {"text_id": text_id(sample["text_embedding"]), "text_ids": text_ids(example)}
    return sample | ids
