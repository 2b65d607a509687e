"""Prepares many assets in several processes."""

import multiprocessing
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from data_prep.manifest import Entry
from data_prep.prepare_asset import Outcome, PrepareOptions, prepare
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.progress import progress


def prepare_all(
    entries: Sequence[Entry], root: Path, work: Path, options: PrepareOptions, workers: int
) -> list[Outcome]:
    """Prepares every entry; what an earlier run finished is taken over.

    Args:
      entries: the assets.
      root: the manifest's folder, which the files that assets refer to must lie in.
      work: where prepared assets go.
      options: what else they depend on.
      workers: processes.

    Returns:
      What became of each entry, in the order of `entries`.

    Raises:
      InputError: when a worker process is killed, or cannot write.  Finished work is kept.
    """
    # Spawned, not forked: forking a process that has threads (or JAX) can deadlock.
    executor = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_end_with_parent,
        initargs=(os.getpid(),),
    )
    outcomes: list[Outcome] = [Outcome()] * len(entries)
    try:
        tasks = {
            executor.submit(prepare, entry.path, entry.id, root, work, options): index
            for index, entry in enumerate(entries)
        }
        for task in progress(as_completed(tasks), len(entries), "preparing assets"):
            outcomes[tasks[task]] = task.result()
    except BrokenProcessPool as error:
        raise InputError(
            "a worker process died, most likely for lack of memory. Finished work is kept: run the "
            "same command again with a smaller --workers, it continues from there"
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)
    return outcomes


def _end_with_parent(parent: int) -> None:
    """Ends this worker when its parent is gone; a killed parent cannot do that itself."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
