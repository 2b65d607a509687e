import importlib.util
import sys

import numpy as np
import pytest

from mixcon3d_jax.extras import MissingExtraError
from mixcon3d_jax.inference import search
from mixcon3d_jax.inference.classification import unit_rows
from mixcon3d_jax.inference.search import nearest


def by_sorting(index, queries, top):
    order = np.argsort(-(queries @ index.T), axis=1, kind="stable")
    return order[:, :top]


@pytest.mark.parametrize("block", [7, 64, 1000])
@pytest.mark.parametrize("top", [1, 5, 100, 500])
def test_the_nearest_are_those_of_sorting_everything(monkeypatch, block, top):
    monkeypatch.setattr(search, "_BLOCK", block)
    rng = np.random.default_rng(0)
    # Whole numbers: products are exact in any order, and many are equal.
    index = rng.integers(-2, 3, (100, 8)).astype(np.float32)
    queries = rng.integers(-2, 3, (4, 8)).astype(np.float32)
    rows, cosines = nearest(index, queries, top)
    np.testing.assert_array_equal(rows, by_sorting(index, queries, top))
    np.testing.assert_array_equal(cosines, np.take_along_axis(queries @ index.T, rows, axis=1))


def test_no_queries_find_nothing():
    rows, _ = nearest(np.ones((5, 2), np.float32), np.zeros((0, 2), np.float32), 3)
    assert rows.shape == (0, 3)


def test_faiss_finds_the_same():
    if importlib.util.find_spec("faiss") is None:
        pytest.skip("needs faiss-cpu, which the extra `dev` brings")
    rng = np.random.default_rng(0)
    index, queries = (unit_rows(rng.normal(size=(n, 16))) for n in (300, 5))
    rows, cosines = nearest(index, queries, 7, "faiss")
    expected, values = nearest(index, queries, 7)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(cosines, values, atol=1e-6)


def test_without_faiss_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtraError, match=r"--backend=faiss needs the package faiss: pip"):
        nearest(np.ones((5, 2), np.float32), np.ones((1, 2), np.float32), 3, "faiss")
