"""Groups of similar shapes."""

import jax
import numpy as np
import pytest

from mixcon3d_jax.data.neighbors import (
    NUM_NEIGHBORS,
    NeighborGroups,
    neighbors_file,
    open_neighbors,
)
from mixcon3d_jax.data.pipeline import PipelineConfig, train_batches
from mixcon3d_jax.data.sampling import ViewPolicy
from mixcon3d_jax.data.schema import SchemaError
from mixcon3d_jax.sharding import batch_sharding, make_mesh

COUNT, GROUP, BATCH = 200, 4, 16
# Record i's neighbours are the next 31.
TABLE = (np.arange(COUNT)[:, None] + np.arange(1, NUM_NEIGHBORS + 1)) % COUNT


def example(index: int) -> dict:
    return {
        "dataset": b"made",
        "gpt4_flag": b"",
        "points": np.full((1, 3), index, np.uint16),
        "colors": np.zeros((1, 3), np.uint8),
        "view_embeddings": np.zeros((2, 4), np.float16),
        "thumbnail_embedding": np.zeros((0, 4), np.float16),
        "text_sources": np.zeros(0, np.uint8),
        "text_embeddings": np.zeros((0, 4), np.float16),
        "embedding_text": np.zeros(0, np.uint8),
        "embedding_kind": np.zeros(0, np.uint8),
    }


SOURCE = [example(index) for index in range(COUNT)]


def groups(steps: int, table=TABLE, start=0, seed=0) -> np.ndarray:
    """(groups, members) of record numbers."""
    config = PipelineConfig(1, ViewPolicy(1), seed, num_threads=2)
    sharding = batch_sharding(make_mesh(1, -1, 1, jax.devices()[:2]))
    order = NeighborGroups(table.astype(np.int32), GROUP, seed)
    batches = train_batches(SOURCE, config, BATCH, sharding, start, order)
    rows = [np.asarray(next(batches)["points"])[:, 0, 0] for _ in range(steps)]
    return np.concatenate(rows).reshape(-1, GROUP).astype(int)


def test_a_group_is_a_shape_and_different_neighbors_of_it():
    found = groups(50)
    away = (found[:, 1:] - found[:, :1]) % COUNT
    assert ((away >= 1) & (away <= NUM_NEIGHBORS)).all()
    assert all(len(set(group)) == GROUP for group in found.tolist())


def test_seeds_and_neighbors_are_uniform():
    found = groups(500)
    firsts = np.bincount(found[:, 0], minlength=COUNT)
    assert abs(firsts - len(found) / COUNT).max() < 5 * np.sqrt(len(found) / COUNT)
    away = (found[:, 1:] - found[:, :1]).ravel() % COUNT
    expected = len(away) / NUM_NEIGHBORS
    counts = np.bincount(away, minlength=NUM_NEIGHBORS + 1)[1:]
    assert abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_neighbors_that_the_split_lacks_are_replaced():
    table = np.where(np.arange(NUM_NEIGHBORS) < 2, TABLE, -1)
    found = groups(20, table)
    away = (found[:, 1:3] - found[:, :1]) % COUNT
    assert {tuple(sorted(pair)) for pair in away.tolist()} == {(1, 2)}
    assert len(set(((found[:, 3] - found[:, 0]) % COUNT).tolist())) > 20


def test_groups_follow_from_seed_and_step():
    np.testing.assert_array_equal(groups(2, start=3), groups(5)[3 * BATCH // GROUP :])
    assert not np.array_equal(groups(2), groups(2, seed=1))


def test_a_small_split_still_gives_different_members():
    order = NeighborGroups(np.full((GROUP, NUM_NEIGHBORS), -1, np.int32), GROUP, seed=0)
    for number in range(20):
        members = [order[number * GROUP + member] for member in range(GROUP)]
        assert sorted(members) == list(range(GROUP))


def test_a_table_is_opened_or_refused(tmp_path):
    index = tmp_path / "train_all.npz"
    with pytest.raises(SchemaError, match=r"train_all\.npz is missing, .*neighbor_group=1"):
        open_neighbors(index, COUNT, GROUP)
    index.write_bytes(b"an index")
    with pytest.raises(SchemaError, match=r"train_all\.neighbors-\w+\.npy can't be read .*--neigh"):
        open_neighbors(index, COUNT, GROUP)
    np.save(neighbors_file(index), TABLE.astype(np.int32))
    np.testing.assert_array_equal(open_neighbors(index, COUNT, GROUP), TABLE)
    with pytest.raises(SchemaError, match=r"shape \(200, 31\) instead of \(199, 31\)"):
        open_neighbors(index, COUNT - 1, GROUP)
    with pytest.raises(SchemaError, match=r"neighbor_group is 9, but .* has 8 records"):
        open_neighbors(index, 8, 9)


def test_a_table_of_another_index_is_not_taken(tmp_path):
    index = tmp_path / "train_all.npz"
    index.write_bytes(b"an index")
    np.save(neighbors_file(index), TABLE.astype(np.int32))
    index.write_bytes(b"another index of as many records")
    with pytest.raises(SchemaError, match="can't be read"):
        open_neighbors(index, COUNT, GROUP)
