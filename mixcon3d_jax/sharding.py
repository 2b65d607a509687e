"""The mesh, and the one table that says where every array of the training state lives."""

import math
import os
import re
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, Sharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Int, Shaped

from mixcon3d_jax.errors import InputError

# Slices of a pod (data-centre network between them), chips that split the batch only, and chips
# that split the batch and the parameters.
MESH_AXES = ("replica", "data", "fsdp")

# Every parameter and running statistic matches exactly one rule (tested for all model sizes).
# Moments and EMA follow the array that they belong to.
RULES: tuple[tuple[str, P], ...] = (
    (r"encoder/set_abstraction/convs/\d+/kernel", P()),  # at most 256 columns: not worth a gather
    (r"(?!encoder/set_abstraction/).*/kernel", P(None, "fsdp")),
    (r".*/(bias|scale|mean|var)", P()),
    (r"encoder/cls_token|logit_scales/\w+", P()),
)

# The same for the frozen CLIP, which is only read: all chips of a slice share its large arrays.
_SLICE = ("data", "fsdp")
CLIP_RULES: tuple[tuple[str, P], ...] = (
    (r".*/kernel", P(None, _SLICE)),
    (r"text/token_embedding", P(None, _SLICE)),
    (r"(vision/class_embedding|(vision|text)/position_embedding|.*/(bias|scale))", P()),
)


class MeshError(InputError):
    """The mesh does not fit the devices, or the batch does not fit the mesh."""


def use_virtual_cpu_devices(count: int) -> None:
    """Computes on the CPU, as if it were `count` devices; call it before a device is touched."""
    jax.config.update("jax_platforms", "cpu")
    # More devices than cores: one of them may well come minutes late to a collective.
    patience = " --xla_cpu_collective_call_terminate_timeout_seconds=1200"
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + patience
    jax.config.update("jax_num_cpu_devices", count)


def make_mesh(replica: int, data: int, fsdp: int, devices: list[Any] | None = None) -> Mesh:
    """A mesh of all devices (or those given) with the axes `MESH_AXES`.

    Args:
      replica, data, fsdp: sizes; one of them may be -1, which takes the devices that are left.
      devices: default all.

    Raises:
      MeshError: if the product of the sizes is not the number of devices, or the devices are of
        several slices that `replica` does not keep apart.
    """
    devices = jax.devices() if devices is None else devices
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    sizes = dict(zip(MESH_AXES, (replica, data, fsdp), strict=True))
    free = [name for name, size in sizes.items() if size == -1]
    fixed = int(np.prod([size for size in sizes.values() if size != -1]))
    if len(free) > 1 or fixed < 1 or len(devices) % fixed or (not free and fixed != len(devices)):
        shape = " x ".join(f"{name}={size}" for name, size in sizes.items())
        raise MeshError(
            f"config.mesh is {shape}, which does not divide the {len(devices)} devices; set one "
            "axis to -1 and the others so that their product divides the number of devices"
        )
    for name in free:
        sizes[name] = len(devices) // fixed
    axis_types = (AxisType.Auto,) * len(MESH_AXES)
    if slices == 1:
        return jax.make_mesh(
            tuple(sizes.values()), MESH_AXES, axis_types=axis_types, devices=devices
        )
    if sizes["replica"] % slices:
        raise MeshError(
            f"the {len(devices)} devices are of {slices} slices, which config.mesh.replica="
            f"{sizes['replica']} is not a multiple of; set it to {slices}, so that only the sum of "
            "gradients, embeddings and statistics goes over the network between slices"
        )
    within = (sizes["replica"] // slices, sizes["data"], sizes["fsdp"])
    grid = mesh_utils.create_hybrid_device_mesh(within, (slices, 1, 1), devices)
    return Mesh(grid, MESH_AXES, axis_types=axis_types)


def check_batch(batch_size: int, mesh: Mesh, what: str) -> None:
    """Raises a `MeshError` unless the mesh divides a global batch of `batch_size` rows."""
    if batch_size % mesh.size:
        raise MeshError(f"{what} is {batch_size}, which the {mesh.size} devices don't divide")


def check_accumulation(batch_size: int, accum_steps: int, mesh: Mesh) -> None:
    """Raises a `MeshError` unless each device's rows can be cut into `accum_steps` micro-batches.

    Args:
      batch_size: rows of the global batch, which the mesh divides.
      accum_steps: micro-batches a step.
      mesh: that the batch is split over.
    """
    rows = batch_size // mesh.size
    if rows % accum_steps:
        raise MeshError(
            f"config.optim.accum_steps is {accum_steps}, which doesn't divide the {rows} rows of "
            f"config.optim.batch_size={batch_size} on each of the {mesh.size} devices; set it to a "
            "divisor"
        )


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows of a batch, split over all axes of the mesh."""
    return NamedSharding(mesh, P(MESH_AXES))


def local_rows(sharding: Sharding, global_batch: int) -> Int[np.ndarray, "rows"]:
    """Which rows of a global batch this process' devices hold, in rising order.

    A contiguous block where the mesh has a process' devices side by side, as it has by default on
    anything but a TPU, whose mesh follows the wiring of the chips.
    """
    blocks = sharding.addressable_devices_indices_map((global_batch,)).values()
    return np.unique(np.concatenate([np.arange(global_batch)[rows] for (rows,) in blocks]))


def global_array(
    local: Shaped[np.ndarray, "rows *shape"],
    rows: Int[np.ndarray, "rows"],
    sharding: Sharding,
    global_batch: int,
) -> Shaped[Array, "batch *shape"]:
    """The array of a global batch, of which each process hands over its own rows.

    Args:
      local: this process' rows.
      rows: their numbers in the batch, of `local_rows`.
      sharding: of the batch.
      global_batch: rows of all processes together.
    """

    def block(index: tuple[slice, ...]) -> np.ndarray:
        start, stop, _ = index[0].indices(global_batch)
        first = int(np.searchsorted(rows, start))
        return local[first : first + stop - start]

    return jax.make_array_from_callback((global_batch, *local.shape[1:]), sharding, block)


def replicated(mesh: Mesh) -> NamedSharding:
    """The same array on every device."""
    return NamedSharding(mesh, P())


def spec_of(
    path: str,
    shape: tuple[int, ...],
    mesh: Mesh,
    rules: tuple[tuple[str, P], ...] = RULES,
) -> P:
    """Where the parameter or statistic at `path` lives.

    A dimension that its axes don't divide stays whole.
    """
    matches = [spec for pattern, spec in rules if re.fullmatch(pattern, path)]
    if len(matches) != 1:
        raise ValueError(f"{path} matches {len(matches)} rules of its table instead of one")

    def divides(axes: str | tuple[str, ...] | None, size: int) -> bool:
        names = (axes,) if isinstance(axes, str) else axes or ()
        return size % math.prod(mesh.shape[name] for name in names) == 0

    fits = [axes if divides(axes, shape[dim]) else None for dim, axes in enumerate(matches[0])]
    return P(*fits)


def state_shardings(tree: Any, mesh: Mesh) -> Any:
    """A `NamedSharding` for every leaf of a training state (arrays or shapes).

    A leaf's rule is found by the end of its path, so that `params`, their EMA and the optimiser's
    moments of one parameter live together.  Scalars are replicated.
    """
    groups = ("params", "stats", "ema_params", "ema_stats", "mu", "nu")

    def place(path, leaf):
        keys = [str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k)))) for k in path]
        inside = [i for i, key in enumerate(keys) if key in groups]
        if not inside or not leaf.shape:
            return replicated(mesh)
        return NamedSharding(mesh, spec_of("/".join(keys[inside[-1] + 1 :]), leaf.shape, mesh))

    return jax.tree_util.tree_map_with_path(place, tree)
