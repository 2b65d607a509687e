"""What the benchmarks share: sides that take turns, the machine's name, tables and JSON."""

import contextlib
import dataclasses
import importlib.metadata
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import jax
from tqdm import tqdm

from mixcon3d_jax.host_memory import keep_freed_memory


@dataclasses.dataclass(frozen=True)
class Seconds:
    """What a side took, over all its turns.

    Attributes:
      median: of the turns.
      low, high: the quartiles.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, turns: Iterable[float]) -> "Seconds":
        """The figures of at least two turns."""
        low, median, high = statistics.quantiles(turns, n=4, method="inclusive")
        return cls(median, low, high)


def take_turns(sides: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Seconds]:
    """Times all sides, one after the other in each round, so that other load meets them alike.

    Args:
      sides: name -> what to time; what it returns is waited for.
      rounds: counted ones; one more goes before, which compiles and fills caches.
    """
    took: dict[str, list[float]] = {name: [] for name in sides}
    for counted in tqdm([False] + [True] * rounds, desc=", ".join(sides), file=sys.stderr):
        for name, run in sides.items():
            began = time.perf_counter()
            jax.block_until_ready(run())
            if counted:
                took[name].append(time.perf_counter() - began)
    return {name: Seconds.of(turns) for name, turns in took.items()}


@contextlib.contextmanager
def in_own_process(
    make: Callable[..., Callable], *args: object, keeps_memory: bool
) -> Iterator[Callable]:
    """What `make(*args)` returns, made and called in a process of its own; it returns nothing.

    The threads of two libraries in one process get in each other's way.  With `keeps_memory` the
    process keeps what it frees, as this project's commands do on a CPU.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, make, args, keeps_memory), daemon=True)
    process.start()
    theirs.close()

    def run(*arguments: object) -> None:
        ours.send(arguments)
        ours.recv()

    try:
        yield run
    finally:
        process.terminate()
        process.join()


def _serve(connection: Connection, make: Callable, args: tuple, keeps_memory: bool) -> None:
    if keeps_memory:
        keep_freed_memory()
    run = make(*args)
    while True:
        jax.block_until_ready(run(*connection.recv()))
        connection.send(None)


def machine() -> dict[str, str]:
    """What a benchmark runs on, and with what."""
    found = {
        "device": f"{len(jax.devices())} x {jax.devices()[0].device_kind}",
        "cores": str(len(os.sched_getaffinity(0))),
        "processor": _processor(),
        "jax": jax.__version__,
    }
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        found["torch"] = importlib.metadata.version("torch")
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # no Linux
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def report(rows: list[dict], *, as_json: bool) -> None:
    """Prints the machine and the rows of a table: names and numbers by column, or JSON."""
    if as_json:
        print(
            json.dumps({"machine": machine(), "rows": rows}, indent=2, default=dataclasses.asdict)
        )
        return
    print(", ".join(f"{key}: {value}" for key, value in machine().items()))
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(row.get(name)) for name in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for line in [columns, *cells]:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def _cell(value: object) -> str:
    if isinstance(value, Seconds):
        return f"{1e3 * value.median:.1f} ({1e3 * value.low:.1f}-{1e3 * value.high:.1f})"
    if isinstance(value, float):
        return f"{value:.2f}"
    return "" if value is None else str(value)
