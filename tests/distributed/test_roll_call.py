"""The processes of a run meet, as threads here: the roll call is nothing but sockets."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mixcon3d_jax.distributed.processes import Processes, StartError
from mixcon3d_jax.distributed.roll_call import AbsentError, call_roll
from tests.processes import free_port

ALIKE = {"code": "12ab", "config.seed": "0"}


def meet(count, coming, port, timeout=3.0, fingerprints=None, counts=None):
    """What each process that comes meets: None, or an error."""

    def come(index):
        processes = Processes(f"localhost:{port}", (counts or {}).get(index, count), index)
        fingerprint = (fingerprints or {}).get(index, ALIKE)
        try:
            call_roll(processes, fingerprint, timeout, f"host{index}")
        except StartError as error:
            return error
        return None

    with ThreadPoolExecutor(len(coming)) as threads:
        return dict(zip(coming, threads.map(come, coming), strict=True))


def test_all_come_twice_to_the_same_port():
    port = free_port()
    for _ in range(2):
        assert meet(5, range(5), port) == dict.fromkeys(range(5))


def test_a_missing_process_is_named_in_time_to_all():
    port = free_port()
    began = time.monotonic()
    found = meet(4, [0, 1, 3], port, timeout=2.0)
    assert time.monotonic() - began < 2.0
    for error in found.values():
        assert isinstance(error, AbsentError)
        assert error.exit_status == 69
        assert f"process 2 of 4 did not come to localhost:{port}" in str(error)
        assert "0 (host0), 1 (host1), 3 (host3)" in str(error)


def test_several_missing_processes_are_named():
    assert "processes [1, 2] of 3" in str(meet(3, [0], free_port(), timeout=0.5)[0])


def test_a_missing_process_0_is_named_with_its_address():
    port = free_port()
    found = meet(2, [1], port, timeout=1.0)[1]
    assert isinstance(found, AbsentError)
    assert f"process 0 did not start the run at localhost:{port} within 1 s" in str(found)
    assert "refused" in str(found)


def test_a_host_with_other_code_or_config_is_named():
    other = ALIKE | {"code": "34cd", "config.new": "1"}
    found = meet(3, range(3), free_port(), fingerprints={2: other})
    for error in found.values():
        assert "process 2 on host2: code is 34cd, on process 0 (host0) 12ab" in str(error)
        assert "process 2 on host2: config.new is 1, on process 0 (host0) None" in str(error)
        assert "process 1" not in str(error)
        assert not isinstance(error, AbsentError)


def test_two_processes_of_one_number_are_named():
    # The second of them learns it; the first hears from process 0.
    found = meet(3, [0, 1], free_port(), timeout=1.0)
    assert "process 2" in str(found[0])
    port = free_port()

    def come(index, host):
        with pytest.raises(StartError) as info:
            call_roll(Processes(f"localhost:{port}", 3, index), ALIKE, 3.0, host)
        return str(info.value)

    with ThreadPoolExecutor(3) as threads:
        zero = threads.submit(come, 0, "a")
        ones = [threads.submit(come, 1, host) for host in "bc"]
        assert "say that they are process 1" in zero.result()
        assert any("say that they are process 1" in one.result() for one in ones)


def test_another_number_of_processes_is_named():
    found = meet(2, [0, 1], free_port(), counts={1: 3})
    assert "process 1 on host1 is one of 3 processes, process 0 one of 2" in str(found[1])


def test_a_taken_port_is_named():
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        error = meet(2, [0], port, timeout=1.0)[0]
    assert f"can't listen on port {port}" in str(error)
    assert "config.distributed.coordinator" in str(error)


def test_something_else_that_tries_the_port_is_ignored():
    port = free_port()

    def knock():
        for message in (b"GET / HTTP/1.1\r\n\r\n\n", b'{"process": 1}\n', b""):
            for _ in range(50):
                try:
                    with socket.create_connection(("localhost", port), timeout=1) as connection:
                        connection.sendall(message)
                        break
                except OSError:
                    time.sleep(0.02)

    with ThreadPoolExecutor(2) as threads:
        meeting = threads.submit(meet, 2, [0], port, 2.0)
        threads.submit(knock).result()
        assert "process 1 of 2 did not come" in str(meeting.result()[0])
