"""Orders in which a run goes through its records."""

import numpy as np
import pytest

from mixcon3d_jax.data.order import PartedOrder


def rows_of(order: PartedOrder, steps: int) -> np.ndarray:
    """Positions of the first batches, a row a batch."""
    numbers = range(steps * order.batch)
    return np.array([order[number] for number in numbers]).reshape(steps, order.batch)


def test_each_part_fills_its_own_rows_epoch_by_epoch():
    # The parts: 9 8 7 | 6 5 4 | 3 2 1 0.
    stored = np.arange(10)[::-1]
    order = PartedOrder(stored, parts=3, batch=6, seed=1)
    found = rows_of(order, 12)
    parts = (stored[0:3], stored[3:6], stored[6:10])
    for part, records in enumerate(parts):
        fed = found[:, 2 * part : 2 * part + 2].ravel()
        for epoch in range(len(fed) // len(records)):
            passed = fed[epoch * len(records) : (epoch + 1) * len(records)]
            assert sorted(passed) == sorted(records)


def test_epochs_differ_only_if_told():
    for reshuffle in (True, False):
        fed = rows_of(PartedOrder(np.arange(40), 2, 4, seed=0, reshuffle=reshuffle), 30)
        first, second = fed[:10, :2].ravel(), fed[10:20, :2].ravel()
        assert sorted(first) == sorted(second) == list(range(20))
        assert (list(first) == list(second)) is not reshuffle


def test_parts_and_seeds_have_orders_of_their_own():
    fed = rows_of(PartedOrder(np.arange(40), 2, 4, seed=0), 10)
    assert list(fed[:, :2].ravel()) != list(fed[:, 2:].ravel() - 20)
    assert not np.array_equal(fed, rows_of(PartedOrder(np.arange(40), 2, 4, seed=1), 10))


@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_hosts_need_their_parts_alone(hosts):
    order = PartedOrder(np.random.default_rng(0).permutation(103), 4, 8, seed=0)
    blocks = np.split(np.arange(8), hosts)
    needed = [order.positions(rows) for rows in blocks]
    assert sorted(np.concatenate(needed)) == list(range(103))
    fed = rows_of(order, 60)
    for rows, positions in zip(blocks, needed, strict=True):
        assert set(fed[:, rows].ravel()) == set(positions)


def test_rows_of_any_pattern():
    order = PartedOrder(np.arange(8), 4, 8, seed=0)
    assert list(order.positions(np.array([0, 1, 6]))) == [0, 1, 6, 7]


@pytest.mark.parametrize(("records", "parts", "batch"), [(10, 3, 8), (2, 4, 8)])
def test_parts_that_do_not_fit(records, parts, batch):
    with pytest.raises(ValueError, match=f"{parts} parts"):
        PartedOrder(np.arange(records), parts, batch, seed=0)
