"""Which processes make up a run, and which of them this one is."""

import dataclasses
import os

import jax

from mixcon3d_jax.errors import InputError

_VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
_KEYS = ("coordinator", "num_processes", "process_id")


class StartError(InputError):
    """The processes of a run don't fit each other, or one of them did not come."""


@dataclasses.dataclass(frozen=True)
class Processes:
    """The processes of a run.

    Attributes:
      coordinator: `HOST:PORT` where process 0 waits for the others.
      count: how many there are.
      index: which of them this one is, from 0.
    """

    coordinator: str
    count: int
    index: int

    @property
    def address(self) -> tuple[str, int]:
        """The coordinator's host and port."""
        host, _, port = self.coordinator.rpartition(":")
        return host.strip("[]"), int(port)


def find_processes(
    coordinator: str, num_processes: int, process_id: int, timeout_seconds: float
) -> Processes | None:
    """The processes of this run; None if this one is alone.

    What is given counts first, then the environment (`JAX_COORDINATOR_ADDRESS`,
    `JAX_NUM_PROCESSES`, `JAX_PROCESS_ID`), then what a Cloud TPU VM knows about its pod.

    Args:
      coordinator: `HOST:PORT`; empty if it isn't given.
      num_processes: 0 if it isn't given.
      process_id: -1 if it isn't given.
      timeout_seconds: for which a TPU VM tries to resolve the name of the first host.

    Raises:
      StartError: if a part of this is missing or makes no sense.
    """
    given = (coordinator, num_processes or None, None if process_id < 0 else process_id)
    found = [
        value if value not in (None, "") else os.environ.get(variable)
        for value, variable in zip(given, _VARIABLES, strict=True)
    ]
    if not any(value is not None for value in found):
        return _of_tpu_pod(timeout_seconds)
    for value, key, variable in zip(found, _KEYS, _VARIABLES, strict=True):
        if value is None:
            raise StartError(
                f"config.distributed.{key} (or ${variable}) is missing, while others of "
                f"{', '.join(_KEYS)} are given; a run of several processes needs all three"
            )
    try:
        processes = Processes(str(found[0]), int(found[1]), int(found[2]))
        host, _ = processes.address
    except ValueError as error:
        raise StartError(
            f"the coordinator is {found[0]!r}, with {found[1]!r} processes, of which this is "
            f"{found[2]!r}; say HOST:PORT and two whole numbers"
        ) from error
    if not host or not 0 <= processes.index < processes.count:
        raise StartError(
            f"the coordinator is {found[0]!r} and this is process {processes.index} of "
            f"{processes.count}; processes are counted from 0, and the coordinator is HOST:PORT"
        )
    return processes if processes.count > 1 else None


def _of_tpu_pod(timeout_seconds: float) -> Processes | None:
    """What `jax.distributed.initialize()` finds on a Cloud TPU VM."""
    # There is no public way to ask without starting, and starting with a process missing ends
    # this one without a word about which.
    from jax._src.clusters import ClusterEnv

    for cluster in ClusterEnv._cluster_types:
        if cluster.name.endswith("tpu") and cluster.is_env_present():
            count = cluster.get_process_count()
            if count == 1:
                return None
            address = cluster.get_coordinator_address(
                timeout_secs=int(timeout_seconds),
                override_coordinator_port=os.environ.get("JAX_COORDINATOR_PORT"),
            )
            return Processes(address, count, cluster.get_process_id())
    return None


def say(message: str) -> None:
    """Prints a line, once for all processes of a run."""
    if jax.process_index() == 0:
        print(message, flush=True)
