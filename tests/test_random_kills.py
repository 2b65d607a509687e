"""A few of the runs that `python -m tests.random_kills` makes, one for each kind of moment."""

from tests.random_kills import MOMENTS, check


def test_a_run_that_is_killed_ends_with_the_same_bits(tmp_path):
    assert check(tmp_path, runs=len(MOMENTS), seed=3, processes=1) == []
