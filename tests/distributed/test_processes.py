"""Which processes make up a run."""

import pytest

from mixcon3d_jax.distributed.processes import Processes, StartError, find_processes


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"):
        monkeypatch.delenv(name, raising=False)


def test_nothing_said_is_one_process():
    assert find_processes("", 0, -1, 1) is None


def test_what_is_given():
    found = find_processes("[::1]:80", 3, 2, 1)
    assert found == Processes("[::1]:80", 3, 2)
    assert found.address == ("::1", 80)
    assert find_processes("localhost:80", 1, 0, 1) is None


def test_what_the_environment_says_and_what_is_given_instead(monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "a:1")
    monkeypatch.setenv("JAX_NUM_PROCESSES", "4")
    monkeypatch.setenv("JAX_PROCESS_ID", "3")
    assert find_processes("", 0, -1, 1) == Processes("a:1", 4, 3)
    assert find_processes("b:2", 0, 0, 1) == Processes("b:2", 4, 0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("a:1", 0, -1), r"num_processes \(or \$JAX_NUM_PROCESSES\) is missing"),
        (("a:1", 2, -1), r"process_id \(or \$JAX_PROCESS_ID\) is missing"),
        (("", 2, 0), r"coordinator \(or \$JAX_COORDINATOR_ADDRESS\) is missing"),
        (("a", 2, 0), "say HOST:PORT"),
        (("a:port", 2, 0), "say HOST:PORT"),
        ((":1", 2, 0), "coordinator is HOST:PORT"),
        (("a:1", 2, 2), "this is process 2 of 2; processes are counted from 0"),
    ],
)
def test_parts_that_are_missing_or_wrong_are_named(given, message):
    with pytest.raises(StartError, match=message):
        find_processes(*given, 1)
