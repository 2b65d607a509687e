"""A step's batch follows from the seed and the step alone; evaluation sees every record once."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from mixcon3d_jax.data.order import EpochOrder
from mixcon3d_jax.data.pipeline import (
    PipelineConfig,
    ShuffledTargets,
    TrainingRows,
    evaluation_batches,
    train_batches,
)
from mixcon3d_jax.data.sampling import ViewPolicy
from mixcon3d_jax.data.schema import Record, Text, encode_record
from mixcon3d_jax.sharding import batch_sharding, make_mesh
from mixcon3d_jax.training.step import abstract_batch

CONFIG = PipelineConfig(num_points=8, views=ViewPolicy(2), seed=0, num_threads=2)
COUNT = 13


def make_example(index: int) -> dict:
    """Its number stands in its colours, views and text."""
    points = np.random.default_rng(index).normal(size=(12, 3)).astype(np.float32)
    record = Record(
        id=str(index),
        dataset="made",
        class_name="",
        points=points,
        colors=np.full((12, 3), index, np.uint8),
        view_embeddings=np.stack([np.full(12, index), np.arange(12)], axis=1),
        thumbnail_embedding=np.zeros((0, 2)),
        texts=(Text("t", "text", np.array([index, 0])),) if index % 2 else (),
    )
    return encode_record(record, 2)


SOURCE = [make_example(index) for index in range(COUNT)]


def sharding(devices: int = 1):
    return batch_sharding(make_mesh(1, 1, devices, jax.devices()[:devices]))


def train(
    steps: int, start: int = 0, batch: int = 4, devices: int = 1, reshuffle: bool = True, **changes
) -> list[dict]:
    config = dataclasses.replace(CONFIG, **changes)
    order = EpochOrder(COUNT, config.seed, reshuffle)
    batches = train_batches(SOURCE, config, batch, sharding(devices), start, order)
    return jax.tree.map(np.asarray, list(itertools.islice(batches, steps)))


def evaluate(batch: int, devices: int = 1, **changes) -> list[dict]:
    config = dataclasses.replace(CONFIG, **changes)
    labels = 100 + np.arange(COUNT)
    batches = evaluation_batches(SOURCE, labels, config, batch, sharding(devices))
    return jax.tree.map(np.asarray, list(batches))


def assert_equal(found: list[dict], expected: list[dict]):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name], err_msg=name)


def numbers(batches: list[dict]) -> list[int]:
    """Which records the rows come from."""
    rows = np.concatenate([batch["view_embeddings"][:, 0, 0] for batch in batches])
    return rows.astype(int).tolist()


def test_the_abstract_batch_is_what_the_pipeline_makes():
    """What is compiled ahead of a run is what the run calls."""
    where = sharding(2)
    [real] = itertools.islice(
        train_batches(SOURCE, CONFIG, 4, where, 0, EpochOrder(COUNT, CONFIG.seed)), 1
    )
    abstract = abstract_batch(4, num_points=8, num_views=2, embedding_size=2, mesh=where.mesh)
    assert real.keys() == abstract.keys()
    for name, array in real.items():
        assert (array.shape, array.dtype) == (abstract[name].shape, abstract[name].dtype), name
        assert array.sharding == abstract[name].sharding


def test_a_batch_is_whole():
    [batch] = train(1)
    assert {name: (array.shape, array.dtype.name) for name, array in batch.items()} == {
        "points": ((4, 8, 3), "uint16"),
        "colors": ((4, 8, 3), "uint8"),
        "view_embeddings": ((4, 2, 2), "float32"),
        "text_embedding": ((4, 2), "float32"),
        "has_text": ((4,), "bool"),
    }


def test_what_belongs_together_stays_together():
    batches = train(10)
    for batch in batches:
        number = batch["view_embeddings"][:, 0, 0]
        np.testing.assert_array_equal(batch["view_embeddings"][:, 1, 0], number)
        np.testing.assert_array_equal(batch["colors"][:, 0, 0], number)
        np.testing.assert_array_equal(batch["has_text"], number % 2 == 1)
        text = np.where(batch["has_text"], number, 0)
        np.testing.assert_array_equal(batch["text_embedding"][:, 0], text)


@pytest.mark.parametrize("start", [1, 3, 7])
def test_a_run_goes_on_where_it_stopped(start):
    # 7 steps of 4 rows are beyond the second epoch of 13 records.
    assert_equal(train(3, start), train(start + 3)[start:])


def test_every_epoch_has_every_record_once_in_its_own_order():
    order = numbers(train(2 * COUNT, batch=2))
    epochs = [order[epoch * COUNT : (epoch + 1) * COUNT] for epoch in range(4)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(COUNT))
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_a_record_is_drawn_anew_in_every_epoch():
    batches = train(2, batch=COUNT)
    first, second = (batch["points"][np.argsort(numbers([batch]))] for batch in batches)
    assert not any(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_seed_decides():
    assert_equal(train(4), train(4, seed=0))
    assert numbers(train(4)) != numbers(train(4, seed=1))


@pytest.mark.parametrize("threads", [1, 5])
def test_the_number_of_threads_does_not_matter(threads):
    assert_equal(train(6, num_threads=threads), train(6))


def test_the_number_of_devices_does_not_matter():
    assert_equal(train(3, devices=4), train(3))


def numbers_of_processes(count: int, global_batch: int) -> list[int]:
    """The record numbers of 8 global batches, put together from `count` processes' rows."""
    rows = global_batch // count
    order = EpochOrder(COUNT, seed=0)
    parts = [
        TrainingRows(SOURCE, order, CONFIG, global_batch, process * rows + np.arange(rows))
        for process in range(count)
    ]
    return [
        int(part[step * rows + row]["colors"][0, 0])
        for step in range(8)
        for part in parts
        for row in range(rows)
    ]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_processes_feed_contiguous_blocks_of_one_global_batch(count):
    assert numbers_of_processes(count, 4) == numbers(train(8, batch=4))


def test_without_reshuffling_every_epoch_has_the_first_ones_order():
    order = numbers(train(3, batch=COUNT, devices=1, reshuffle=False))
    assert order[:COUNT] == order[COUNT : 2 * COUNT] == order[2 * COUNT :]
    assert order[:COUNT] == numbers(train(1, batch=COUNT, devices=1))


def test_shuffled_targets_permute_targets_and_keep_shapes():
    shuffled = ShuffledTargets(SOURCE, seed=0)
    assert len(shuffled) == COUNT
    for index in range(COUNT):
        for key in ("id", "points", "points_low", "points_step", "colors"):
            np.testing.assert_array_equal(shuffled[index][key], SOURCE[index][key], err_msg=key)
    others = [int(shuffled[index]["view_embeddings"][0, 0]) for index in range(COUNT)]
    assert sorted(others) == list(range(COUNT))
    assert others != list(range(COUNT))
    for index, other in enumerate(others):
        found, expected = shuffled[index], SOURCE[other]
        assert found.keys() == expected.keys()
        for key in ("view_embeddings", "text_embeddings", "embedding_text", "text_sources"):
            np.testing.assert_array_equal(found[key], expected[key], err_msg=key)


def test_shuffled_targets_follow_from_the_seed():
    def others(seed):
        shuffled = ShuffledTargets(SOURCE, seed)
        return [int(shuffled[i]["view_embeddings"][0, 0]) for i in range(COUNT)]

    assert others(0) == others(0) != others(1)


@pytest.mark.parametrize("batch", [1, 4, 13, 16])
def test_evaluation_sees_every_record_once_in_order(batch):
    batches = evaluate(batch)
    assert len(batches) == -(-COUNT // batch)
    mask = np.concatenate([found["mask"] for found in batches])
    assert mask.tolist() == [True] * COUNT + [False] * (len(batches) * batch - COUNT)
    assert np.array(numbers(batches))[mask].tolist() == list(range(COUNT))
    labels = np.concatenate([found["label"] for found in batches])
    assert labels[mask].tolist() == list(range(100, 100 + COUNT))
    assert {found["label"].dtype.name for found in batches} == {"int32"}


@pytest.mark.parametrize(("batch", "devices"), [(1, 1), (4, 4), (8, 2), (16, 1)])
def test_evaluation_samples_do_not_depend_on_batch_size_and_devices(batch, devices):
    def rows(batches):
        mask = np.concatenate([found["mask"] for found in batches])
        return [
            {name: np.concatenate([found[name] for found in batches])[mask] for name in batches[0]}
        ]

    assert_equal(rows(evaluate(batch, devices)), rows(evaluate(5)))


def test_evaluation_draws_follow_from_its_seed():
    assert_equal(evaluate(4), evaluate(4))
    assert not np.array_equal(evaluate(4)[0]["points"], evaluate(4, seed=1)[0]["points"])


def test_evaluation_draws_anew_for_every_record():
    # Equal records, each point with a colour of its own: the colours tell which points are drawn.
    same = {**SOURCE[0], "colors": np.arange(36, dtype=np.uint8).reshape(12, 3)}
    batches = evaluation_batches([same] * COUNT, np.zeros(COUNT), CONFIG, COUNT, sharding())
    colors = np.asarray(next(batches)["colors"])
    assert len({sample.tobytes() for sample in colors}) == COUNT
