"""Starts JAX on all processes of a run."""

import hashlib
import importlib.metadata
import platform
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import jax

import mixcon3d_jax
from mixcon3d_jax.distributed.processes import Processes
from mixcon3d_jax.distributed.roll_call import call_roll

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
# What JAX may take to start when all processes are there.
_LEAST_SECONDS = 60


def start(
    processes: Processes,
    settings: Mapping[str, str],
    timeout_seconds: float,
    heartbeat_seconds: int,
) -> None:
    """Lets this process take part in a run; nothing has touched a device before.

    Args:
      processes: of the run.
      settings: what has to be the same on all of them, beside code and packages.
      timeout_seconds: how long to wait for the others.
      heartbeat_seconds: a process that isn't heard of for so long ends all others.

    Raises:
      StartError: if one does not come, or they differ.
    """
    began = time.monotonic()
    call_roll(processes, {**program(), **settings}, timeout_seconds, socket.gethostname())
    left = timeout_seconds - (time.monotonic() - began)
    jax.distributed.initialize(
        processes.coordinator,
        processes.count,
        processes.index,
        cluster_detection_method="deactivate",
        initialization_timeout=max(int(left), _LEAST_SECONDS),
        heartbeat_timeout_seconds=heartbeat_seconds,
        shutdown_timeout_seconds=heartbeat_seconds,
    )


def program() -> dict[str, str]:
    """What this process runs: checksum of the code, versions of Python and the packages."""
    return {
        "code": code_checksum(Path(mixcon3d_jax.__file__).parent)[:12],
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def code_checksum(folder: Path) -> str:
    """The SHA-256 of all Python files in a folder, by name and content."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()
