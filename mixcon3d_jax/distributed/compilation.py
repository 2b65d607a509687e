"""Programs that all processes have compiled before any of them runs one."""

from collections.abc import Callable
from typing import Any

import jax

from mixcon3d_jax.distributed.agreement import wait_for_all


class CompiledTogether:
    """A jitted function, compiled when it is first called with arguments of some shapes.

    Collectives between CPUs give up on a process that is half a minute late, and compiling alone
    may take that much longer on one host than on another.

    Args:
      jitted: of `jax.jit`; all processes call it with the same shapes in the same order.
    """

    def __init__(self, jitted: Callable[..., Any]):
        self._jitted = jitted
        self._programs: dict[Any, Callable[..., Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        """What the jitted function returns."""
        leaves, structure = jax.tree.flatten(arguments)
        key = (structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves))
        if key not in self._programs:
            self._programs[key] = self._jitted.lower(*arguments).compile()
            wait_for_all()
        return self._programs[key](*arguments)
