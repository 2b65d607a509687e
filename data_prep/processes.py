"""Runs a function on many things in several processes."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from mixcon3d_jax.errors import InputError
from mixcon3d_jax.progress import progress


def in_processes(
    function: Callable[..., Any], tasks: Sequence[tuple], workers: int, what: str
) -> Iterator[tuple[int, Any]]:
    """Calls `function(*task)` for every task; yields (index of the task, result) as they finish.

    Args:
      function: importable by its name.
      tasks: arguments of each call.
      workers: processes.
      what: a few words for the progress bar.

    Raises:
      InputError: when a worker process is killed.  What a call raises is raised here.
    """
    # Spawned, not forked: forking a process that has threads (or JAX) can deadlock.
    executor = ProcessPoolExecutor(
        min(workers, max(len(tasks), 1)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=end_with_parent,
        initargs=(os.getpid(),),
    )
    try:
        futures = {executor.submit(function, *task): index for index, task in enumerate(tasks)}
        for future in progress(as_completed(futures), len(tasks), what):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise InputError(
            "a worker process died, most likely for lack of memory. Finished work is kept: run the "
            "same command again with a smaller --workers, it continues from there"
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


def end_with_parent(parent: int) -> None:
    """Ends this worker when its parent is gone; a killed parent cannot do that itself."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
