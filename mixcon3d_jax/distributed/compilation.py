"""Programs that all processes have compiled before any of them runs one."""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import jax

from mixcon3d_jax.distributed.agreement import wait_for_all


@dataclasses.dataclass(frozen=True)
class Compilation:
    """How a program came about on this process.

    Attributes:
      seconds: that it took.
      from_cache: it was compiled before, and read from JAX's cache of programs.
    """

    seconds: float
    from_cache: bool


class CompiledTogether:
    """A jitted function, compiled when it is first called with arguments of some shapes.

    Collectives between CPUs give up on a process that is half a minute late, and compiling alone
    may take that much longer on one host than on another, as where only one finds the program in
    JAX's cache.

    Args:
      jitted: of `jax.jit`; all processes call it with the same shapes in the same order.
    """

    def __init__(self, jitted: Callable[..., Any]):
        self._jitted = jitted
        self._programs: dict[Any, Callable[..., Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        """What the jitted function returns."""
        key = _shapes(arguments)
        if key not in self._programs:
            self.compile(*arguments)
        return self._programs[key](*arguments)

    def compile(self, *arguments: Any) -> Compilation:
        """Compiles the function for arguments of these shapes, without a call."""
        hits, began = cache_hits(), time.perf_counter()
        self._programs[_shapes(arguments)] = self._jitted.lower(*arguments).compile()
        seconds, from_cache = time.perf_counter() - began, cache_hits() > hits
        wait_for_all()
        return Compilation(seconds, from_cache)


def cache_hits() -> int:
    """How many programs this process has read from JAX's cache, counted from the first call on."""
    return _CacheHits.of_this_process().number


class _CacheHits:
    """JAX only says when it happens."""

    def __init__(self):
        self.number = 0
        jax.monitoring.register_event_listener(self._note)

    @classmethod
    @functools.cache
    def of_this_process(cls) -> "_CacheHits":
        return cls()

    def _note(self, event: str, **details: Any) -> None:
        self.number += event == "/jax/compilation_cache/cache_hits"


def _shapes(arguments: tuple[Any, ...]) -> Any:
    leaves, structure = jax.tree.flatten(arguments)
    return structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves)
