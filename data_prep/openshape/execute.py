"""Converts units in this process or in several."""

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from tqdm import tqdm

from data_prep.openshape.convert import Job, convert
from mixcon3d_jax.errors import InputError
from mixcon3d_jax.progress import byte_progress
from mixcon3d_jax.workers import end_with_parent

_SECONDS_BETWEEN_LOOKS = 0.2

# In a worker process: bytes gone through by all of them, and whether they should stop.
_shared: Any = None


class _StoppedError(Exception):
    """Another worker failed, so this one need not go on."""


def convert_all(jobs: Sequence[Job], workers: int) -> None:
    """Converts every unit that is not finished, with a bar over the bytes of the source.

    Args:
      jobs: the units; finished ones are passed over.
      workers: processes; a single one needs no other than this.

    Raises:
      InputError: when a worker process is killed, or a shard can't be written.  Finished shards are
        kept.
    """
    total = sum(job.unit.num_bytes for job in jobs)
    left = [job for job in jobs if job.has_work()]
    done = total - sum(job.unit.num_bytes for job in left)
    with byte_progress(total, "converting", done) as bar:
        if workers == 1:
            for job in left:
                convert(job, bar.update)
        elif left:
            _convert_in_processes(left, min(workers, len(left)), bar)


def _convert_in_processes(jobs: Sequence[Job], workers: int, bar: tqdm) -> None:
    # Spawned, not forked: forking a process that has threads can deadlock.
    context = multiprocessing.get_context("spawn")
    shared = context.Value("Q", 0), context.Value("b", 0, lock=False)
    executor = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_begin_worker, initargs=(os.getpid(), shared)
    )
    # The largest first, so that none is left over at the end.
    jobs = sorted(jobs, key=lambda job: -job.unit.num_bytes)
    try:
        _follow({executor.submit(_convert_in_worker, job) for job in jobs}, bar, shared[0])
    except BrokenProcessPool as error:
        raise InputError(
            "a worker process died, most likely for lack of memory.  Finished shards are kept: run "
            "the same command again with a smaller --workers, it continues from there"
        ) from error
    finally:
        shared[1].value = 1
        executor.shutdown(cancel_futures=True)


def _follow(tasks: set[Future], bar: tqdm, gone_through: Any) -> None:
    """Waits for all tasks; the bar shows what they have gone through."""
    start = bar.n
    while tasks:
        finished, tasks = wait(tasks, _SECONDS_BETWEEN_LOOKS, return_when=FIRST_EXCEPTION)
        for task in finished:
            task.result()
        bar.update(start + gone_through.value - bar.n)


def _begin_worker(parent: int, shared: Any) -> None:
    global _shared
    _shared = shared
    end_with_parent(parent)


def _convert_in_worker(job: Job) -> None:
    gone_through, stop = _shared

    def advance(count: int) -> None:
        if stop.value:
            raise _StoppedError
        with gone_through.get_lock():
            gone_through.value += count

    convert(job, advance)
