"""Groups of similar shapes."""

import jax
import numpy as np
import pytest

from mixcon3d_jax.data.neighbors import NUM_NEIGHBORS, neighbors_file, open_neighbors
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
    config = PipelineConfig(1, ViewPolicy(1), seed, num_threads=2, neighbor_group=GROUP)
    sharding = batch_sharding(make_mesh(1, -1, 1, jax.devices()[:2]))
    batches = train_batches(SOURCE, config, BATCH, sharding, start, table.astype(np.int32))
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


def test_a_table_is_opened_or_refused(tmp_path):
    index = tmp_path / "train_all.npz"
    with pytest.raises(SchemaError, match=r"train_all\.neighbors\.npy can't be read .*--neighbors"):
        open_neighbors(index, COUNT)
    np.save(neighbors_file(index), TABLE.astype(np.int32))
    np.testing.assert_array_equal(open_neighbors(index, COUNT), TABLE)
    with pytest.raises(SchemaError, match=r"shape \(200, 31\) instead of \(199, 31\)"):
        open_neighbors(index, COUNT - 1)
