"""What a process frees on a CPU stays with it."""

import os
import subprocess
import sys

import pytest

_PROGRAM = """
import resource, sys
import jax, numpy as np
from mixcon3d_jax.host_memory import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(50_000_000, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")
def test_freed_memory_is_used_again_without_asking_the_system():
    def faults(how):
        # Numpy asks for huge pages where it may: count small ones.
        env = os.environ | {"JAX_PLATFORMS": "cpu", "NUMPY_MADVISE_HUGEPAGE": "0"}
        command = [sys.executable, "-c", _PROGRAM, how]
        return int(subprocess.run(command, env=env, capture_output=True, check=True).stdout)

    assert faults("given back") > 10_000
    assert faults("kept") < 100


def test_nothing_is_kept_where_an_accelerator_computes():
    program = "from mixcon3d_jax.host_memory import keep_freed_memory; print(keep_freed_memory())"
    env = os.environ | {"JAX_PLATFORMS": "tpu"}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, check=True)
    assert done.stdout.strip() == b"False"
