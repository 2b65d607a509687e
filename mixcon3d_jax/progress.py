"""Progress of long work, on the terminal."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(
    items: Iterable[T], total: int | None, what: str, done: int = 0, *, shown: bool = True
) -> Iterator[T]:
    """Yields `items` behind a bar that shows the count, the rate and the time left.

    Args:
      items: what is worked through.
      total: how many there are in all, those already done included.
      what: a few words, shown before the bar.
      done: how many were done before (by an earlier run).
      shown: False for all but one of the processes that do the same work.
    """
    return iter(
        tqdm(
            items,
            total=total,
            desc=what,
            initial=done,
            mininterval=_interval(),
            dynamic_ncols=True,
            disable=not shown,
        )
    )


def byte_progress(total: int, what: str, done: int = 0) -> tqdm:
    """A bar over bytes, with rate and time left; the caller calls `update(bytes)` and `close()`.

    Args:
      total: how many there are in all, those already done included.
      what: a few words, shown before the bar.
      done: how many were done before (by an earlier run).
    """
    return tqdm(
        total=total,
        desc=what,
        initial=done,
        unit="B",
        unit_scale=True,
        mininterval=_interval(),
        dynamic_ncols=True,
    )


def _interval() -> float:
    """A log file gets a line every ten seconds instead of a bar redrawn ten times a second."""
    return 0.1 if sys.stderr.isatty() else 10.0
