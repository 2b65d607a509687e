"""The TPU compiler on a machine without a TPU."""

import importlib.util
import os

import jax
from jax.experimental import topologies

from mixcon3d_jax.errors import InputError
from mixcon3d_jax.planning.topology import Topology

# Without them libtpu asks the machine's metadata server which TPU it has, and takes a lock on it.
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "JAX_PLATFORMS": "cpu",
}


class CompilerError(InputError):
    """There is no TPU compiler here."""


def use_compiler_only() -> None:
    """Tells libtpu that there is no TPU; call it before any device is touched.

    Raises:
      CompilerError: if libtpu is not installed.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise CompilerError(
            "planning needs the TPU compiler (no TPU), which is not installed here. Say "
            "pip install 'mixcon3d-jax[tpu]', or in a clone of the repository "
            "pip install -e '.[tpu]'"
        )
    os.environ.update(_ENVIRONMENT)
    jax.config.update("jax_platforms", "cpu")


def topology_devices(topology: Topology) -> list[jax.Device]:
    """The chips of a topology, as devices to compile for.

    Raises:
      CompilerError: if libtpu knows no such slice.
    """
    options: dict = {}
    if topology.kind == "v4":
        options["chip_config_name"] = "megacore"  # two cores a device
    if topology.shape == (1, 1):
        options["chips_per_host_bounds"] = [1, 1, 1]
    if topology.slices > 1:
        options["num_slices"] = topology.slices
    grid = f"{topology.kind}:{'x'.join(map(str, topology.shape))}"
    try:
        description = topologies.get_topology_desc(grid, platform="tpu", **options)
    except Exception as error:  # libtpu's own kinds, none of them public
        reason = str(error).strip().splitlines()[0]
        raise CompilerError(f"libtpu can't compile for {topology.name}: {reason}") from error
    return list(description.devices)
