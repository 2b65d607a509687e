"""The host's memory where the host computes: what a step frees, the next one uses again."""

import ctypes
import importlib.metadata
import importlib.util
import sys

import jax

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Keeps what this process frees, instead of giving it back, if it computes on the CPU.

    A training step on a CPU frees gigabytes.  Given back, each page of them would be fetched from
    the system and zeroed in the next step again, which takes up to a third of the step.  To be
    called before JAX starts its threads.

    Returns:
      Whether it is kept: with the C library that most Linux systems have, and no accelerator.
    """
    if not sys.platform.startswith("linux") or not _computes_on_cpu():
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library than glibc
        return False
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1))
    return all([mallopt(parameter, value) == 1 for parameter, value in settings])


def _computes_on_cpu() -> bool:
    """As far as can be said before JAX looks for devices."""
    if jax.config.jax_platforms:
        return jax.config.jax_platforms == "cpu"
    accelerators = importlib.metadata.entry_points(group="jax_plugins")
    return not accelerators and importlib.util.find_spec("libtpu") is None
