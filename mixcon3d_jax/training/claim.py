"""A run takes possession of its workdir, for all of its processes."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping

import jax
from ml_collections import ConfigDict

from mixcon3d_jax.buckets import AnyPath, as_path
from mixcon3d_jax.distributed.agreement import as_first_process_finds, on_every_process
from mixcon3d_jax.files import read_whole
from mixcon3d_jax.training.lock import LOCK_FILE, WorkdirError, WorkdirLock
from mixcon3d_jax.training.workdir import claim_workdir


@contextlib.contextmanager
def claimed(
    workdir: AnyPath, config: ConfigDict, checksums: Mapping[str, str]
) -> Iterator[Callable[[], None]]:
    """While it is entered, no other run writes into the workdir.

    Args:
      workdir: one folder or bucket for all processes.
      config: of the run.
      checksums: of the data that it trains on, by data set.

    Yields:
      A function to call before anything is written that another run would miss; it raises a
      `WorkdirError` if the workdir was taken all the same.

    Raises:
      WorkdirError: if another run is alive in it, it belongs to another run, or the processes don't
        see the same folder.
      WriteError: if it can't be written.
    """
    with contextlib.ExitStack() as stack:
        locks: list[WorkdirLock] = []

        def claim() -> None:
            if jax.process_index() == 0:
                locks.append(stack.enter_context(WorkdirLock(workdir)))
                claim_workdir(workdir, config, checksums)

        on_every_process(claim)
        token = as_first_process_finds(lambda: locks[0].token)
        on_every_process(lambda: _check_shared(workdir, token))
        yield locks[0].check if locks else lambda: None


def _check_shared(workdir: AnyPath, token: str) -> None:
    content = read_whole(as_path(workdir) / LOCK_FILE)
    if content is None or json.loads(content).get("token") != token:
        raise WorkdirError(
            f"{workdir} is not the folder that process 0 writes to; all processes need the same "
            "one: give --workdir=gs://BUCKET/PATH, or a disk that all hosts share"
        )
