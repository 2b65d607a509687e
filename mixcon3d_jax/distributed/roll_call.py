"""All processes of a run meet before JAX starts, and see whether they belong together.

JAX's own start ends the process when another one is missing, or when the port is taken, without
saying which; so process 0 calls the roll on that port first.
"""

import contextlib
import json
import socket
import time
from collections.abc import Mapping
from typing import Any

from mixcon3d_jax.distributed.processes import Processes, StartError

_LARGEST_MESSAGE = 1 << 20
# For a connection that says nothing: something else that tries the port.
_PATIENCE_SECONDS = 2.0
_RETRY_SECONDS = 0.3
_LISTED_DIFFERENCES = 10

Fingerprint = Mapping[str, str]


class AbsentError(StartError):
    """A process did not come in time; it may come the next time."""

    exit_status = 69  # EX_UNAVAILABLE


def call_roll(
    processes: Processes, fingerprint: Fingerprint, timeout_seconds: float, host: str
) -> None:
    """Returns when all processes have come and are alike.

    Args:
      processes: of the run.
      fingerprint: what has to be the same on all of them, by name.
      timeout_seconds: how long to wait.
      host: the name of this process' host, for messages.

    Raises:
      AbsentError: if one did not come in time; the message names it and the address.
      StartError: if they differ, or the port is taken.
    """
    if processes.index == 0:
        # A little less, so that the others still hear from it who is missing.
        _Roll(processes, fingerprint, host).call(0.9 * timeout_seconds)
    else:
        _answer(processes, fingerprint, host, timeout_seconds)


class _Roll:
    """Process 0's side."""

    def __init__(self, processes: Processes, fingerprint: Fingerprint, host: str):
        self._processes = processes
        self._came = {0: {"host": host, "of": processes.count, "fingerprint": dict(fingerprint)}}
        self._connections: dict[int, socket.socket] = {}

    def call(self, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(self._listen())
            stack.callback(lambda: [each.close() for each in self._connections.values()])
            verdict = self._hear_all(server, deadline, timeout_seconds)
            for connection in self._connections.values():
                with contextlib.suppress(OSError):
                    _send(connection, verdict)
            _raise_if_problem(verdict)

    def _hear_all(
        self, server: socket.socket, deadline: float, timeout_seconds: float
    ) -> dict[str, Any]:
        while len(self._came) < self._processes.count:
            server.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                connection, _ = server.accept()
            except TimeoutError:
                return {"problem": self._absent(timeout_seconds), "absent": True}
            if problem := self._enter(connection):
                return {"problem": problem}
        return {"problem": _differences(self._came)}

    def _listen(self) -> socket.socket:
        _, port = self._processes.address
        try:
            if socket.has_dualstack_ipv6():
                return socket.create_server(
                    ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024
                )
            return socket.create_server(("", port), backlog=1024)
        except (OSError, OverflowError) as error:
            raise StartError(
                f"process 0 can't listen on port {port} of {self._processes.coordinator} ({error});"
                " is another run using it?  End that one, or give a free port with "
                "config.distributed.coordinator (on a TPU pod: JAX_COORDINATOR_PORT)"
            ) from error

    def _enter(self, connection: socket.socket) -> str:
        """Takes one process' answer; returns what is wrong with it."""
        message = _receive(connection, time.monotonic() + _PATIENCE_SECONDS)
        index = message.get("process")
        if not isinstance(index, int) or {"host", "of", "fingerprint"} - message.keys():
            connection.close()  # not one of ours
            return ""
        earlier = self._connections.get(index)
        if index == 0 or (earlier is not None and _is_open(earlier)):
            connection.close()
            first = self._came[index]["host"]
            return (
                f"two processes, on {first} and on {message['host']}, say that they are process "
                f"{index}; give each a config.distributed.process_id of its own"
            )
        self._connections[index] = connection
        self._came[index] = message
        if message["of"] != self._processes.count:
            return (
                f"process {index} on {message['host']} is one of {message['of']} processes, "
                f"process 0 one of {self._processes.count}; start all with the same number"
            )
        return ""

    def _absent(self, timeout_seconds: float) -> str:
        missing = sorted(set(range(self._processes.count)) - self._came.keys())
        here = ", ".join(f"{i} ({self._came[i]['host']})" for i in sorted(self._came))
        names = f"process {missing[0]}" if len(missing) == 1 else f"processes {missing}"
        return (
            f"{names} of {self._processes.count} did not come to {self._processes.coordinator} "
            f"within {timeout_seconds:g} s; these came: {here}.  Look at the log of the missing "
            "one: was it started, and can it reach that address and port?"
        )


def _answer(
    processes: Processes,
    fingerprint: Fingerprint,
    host: str,
    timeout_seconds: float,
) -> None:
    """The other processes' side."""
    deadline = time.monotonic() + timeout_seconds
    said = {"process": processes.index, "host": host, "of": processes.count}
    last = "no answer"
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(processes.address, timeout=_PATIENCE_SECONDS) as server:
                _send(server, said | {"fingerprint": dict(fingerprint)})
                verdict = _receive(server, deadline)
        except OSError as error:
            last = str(error)
            time.sleep(_RETRY_SECONDS)
            continue
        if "problem" not in verdict:
            last = "it let nobody start"
            time.sleep(_RETRY_SECONDS)
        else:
            _raise_if_problem(verdict)
            return
    raise AbsentError(
        f"process 0 did not start the run at {processes.coordinator} within {timeout_seconds:g} s "
        f"({last}); this is process {processes.index} of {processes.count} on {host}.  Look at the "
        "log of process 0: was it started, and can this host reach that address and port?"
    )


def _raise_if_problem(verdict: Mapping[str, Any]) -> None:
    if verdict["problem"]:
        raise (AbsentError if verdict.get("absent") else StartError)(verdict["problem"])


def _differences(came: Mapping[int, Mapping[str, Any]]) -> str:
    """How processes differ from process 0; empty if they don't."""
    first = came[0]["fingerprint"]
    lines = []
    for index in sorted(came):
        other = came[index]["fingerprint"]
        lines += [
            f"process {index} on {came[index]['host']}: {key} is {other.get(key)}, "
            f"on process 0 ({came[0]['host']}) {first.get(key)}"
            for key in sorted(first.keys() | other.keys())
            if first.get(key) != other.get(key)
        ]
    if not lines:
        return ""
    more = len(lines) - _LISTED_DIFFERENCES
    listed = "\n  ".join(lines[:_LISTED_DIFFERENCES] + ([f"and {more} more"] if more > 0 else []))
    return (
        f"the hosts don't run the same program:\n  {listed}\n"
        "bring all to the same code and packages, and start them with the same flags"
    )


def _is_open(connection: socket.socket) -> bool:
    try:
        connection.setblocking(False)
        return connection.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        connection.setblocking(True)


def _send(connection: socket.socket, message: Mapping[str, Any]) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def _receive(connection: socket.socket, deadline: float) -> dict[str, Any]:
    """One line of JSON; empty if what comes is something else, or nothing."""
    data = b""
    try:
        while not data.endswith(b"\n") and len(data) < _LARGEST_MESSAGE:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            part = connection.recv(65536)
            if not part:
                break
            data += part
        message = json.loads(data)
    except (OSError, ValueError):
        return {}
    return message if isinstance(message, dict) else {}
