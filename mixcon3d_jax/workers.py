"""Runs a function on many things in several processes."""

import multiprocessing
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
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
    executor = _process_pool(min(workers, max(len(tasks), 1)))
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


def in_order(
    function: Callable[..., Any], tasks: Iterable[tuple], workers: int, ahead: int
) -> Iterator[Any]:
    """Calls `function(*task)` for every task ahead of time; yields results in the tasks' order.

    Args:
      function: importable by its name.
      tasks: arguments of each call.
      workers: processes; 0: threads of this process, one a core.
      ahead: so many tasks, at most, are begun before their result is asked for.

    Raises:
      InputError: when a worker process is killed.  What a call raises is raised here.
    """
    executor: Executor
    if workers:
        executor = _process_pool(workers)
    else:
        executor = ThreadPoolExecutor(os.cpu_count(), initializer=_give_way)
    begun: deque = deque()
    try:
        for task in tasks:
            begun.append(executor.submit(function, *task))
            if len(begun) >= ahead:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    except BrokenProcessPool as error:
        raise InputError(
            "a worker process died, most likely for lack of memory; say a smaller number of "
            "--workers (workers= in Python)"
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


def _give_way() -> None:
    """Lowers this thread's priority: those that compute with the results must not wait for it."""
    if sys.platform == "linux":  # elsewhere a priority is of the whole process
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)


def _process_pool(workers: int) -> ProcessPoolExecutor:
    # Spawned, not forked: forking a process that has threads (or JAX) can deadlock.
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=end_with_parent,
        initargs=(os.getpid(),),
    )


def end_with_parent(parent: int) -> None:
    """Ends this worker when its parent is gone; a killed parent cannot do that itself."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
