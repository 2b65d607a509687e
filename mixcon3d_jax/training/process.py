"""Which process of which machine this is, and whether another one still runs."""

import functools
import os
import socket
from pathlib import Path


def host_name() -> str:
    """For people."""
    return socket.gethostname()


@functools.cache
def machine() -> str:
    """Where process ids mean the same: this host since it was started, and this container on it."""
    parts = [host_name()]
    for read in (
        lambda: Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        lambda: os.readlink("/proc/self/ns/pid"),
    ):
        try:
            parts.append(read())
        except OSError:  # no Linux
            parts.append("unknown")
    return " ".join(parts)


def start_time(pid: int) -> int | None:
    """When a process began, in clock ticks since the machine's start; None if it does not run."""
    try:
        # The second field is the program's name in brackets and may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def is_running(pid: int, began: int) -> bool:
    """Whether the process that began at `began` (of `start_time`) still runs on this machine.

    A new process of the same id is another one.
    """
    if Path("/proc/self/stat").exists():
        return start_time(pid) == began
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
