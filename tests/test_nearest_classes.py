import numpy as np
import pytest

from benchmarks.nearest_classes import nearest_agreement


def test_neighbours_of_the_same_class_are_counted():
    rows = np.array([[1, 0], [10, 1], [0, 1], [0.1, 5], [1, 1.2]], np.float32)
    counted, right, chance = nearest_agreement(rows, ["a", "a", "b", "b", "c"])
    assert (counted, right) == (4, 100.0)
    assert chance == pytest.approx(25.0)
    _, right, chance = nearest_agreement(rows, ["a", "b", "a", "b", "a"])
    assert right == 0.0
    assert chance == pytest.approx(100 * (3 * 2 / 4 + 2 * 1 / 4) / 5)
