"""What embedding ahead costs on a topology: the programs of the two towers, one after the other."""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mixcon3d_jax.models.clip import NUMERICS
from mixcon3d_jax.models.clip_folder import image_program, text_program
from mixcon3d_jax.models.clip_weights import abstract_clip
from mixcon3d_jax.planning.compiler import topology_devices
from mixcon3d_jax.planning.cost import Cost, program_cost
from mixcon3d_jax.planning.floor import Floor, step_floor
from mixcon3d_jax.planning.hlo import parse_program
from mixcon3d_jax.planning.memory import Memory, step_memory
from mixcon3d_jax.planning.programs import clip_sizes, to_tower
from mixcon3d_jax.planning.topology import Topology
from mixcon3d_jax.sharding import batch_sharding, check_batch, make_mesh, replicated


@dataclasses.dataclass(frozen=True)
class TowerFigures:
    """A tower's program for one batch.

    Attributes:
      memory, cost: on each chip; `memory.clip` are the weights of both towers.
      floor: of its time.
      fits: whether its peak is below what a chip has for a program.
    """

    memory: Memory
    cost: Cost
    floor: Floor
    fits: bool


@dataclasses.dataclass(frozen=True)
class TargetsPlan:
    """What was found out.

    Attributes:
      topology: planned for.
      clip: its name.
      batch: images, or texts, at once on all chips.
      towers: `images` and `texts` -> figures.
    """

    topology: Topology
    clip: str
    batch: int
    towers: dict[str, TowerFigures]


def plan_targets(
    config: ConfigDict, topology: Topology, batch: int, say: Callable[[str], None]
) -> TargetsPlan:
    """Compiles the programs of `data_prep.precompute_targets` for a topology.

    Args:
      config: whose CLIP and dtype are taken.
      topology: to run on.
      batch: images, or texts, at once on all chips.
      say: takes lines about what is going on.

    Raises:
      InputError: if the CLIP isn't known, or the batch doesn't fit the topology.
    """
    devices = topology_devices(topology)
    mesh = make_mesh(topology.slices, -1, 1, list(devices))
    check_batch(batch, mesh, "--batch")
    sizes = clip_sizes(config)
    clip = abstract_clip(sizes, NUMERICS[config.clip.dtype], mesh)
    side, channels = sizes.vision.image_size, sizes.vision.channels
    programs = {
        "images": (
            *image_program(clip.vision, to_tower, replicated(mesh)),
            (side, side, channels),
            jnp.uint8,
        ),
        "texts": (
            *text_program(clip.text, replicated(mesh)),
            (sizes.text.context_length,),
            jnp.int32,
        ),
    }
    weights = sum(
        _chip_bytes(leaf) for _, tree, _, _ in programs.values() for leaf in jax.tree.leaves(tree)
    )
    towers = {}
    for name, (program, tree, shape, dtype) in programs.items():
        rows = jax.ShapeDtypeStruct((batch, *shape), dtype, sharding=batch_sharding(mesh))
        say(f"compiling the tower of {name} ...")
        began = time.perf_counter()
        compiled = program.lower(tree, rows).compile()
        say(f"  after {time.perf_counter() - began:.0f} s")
        parsed = parse_program(compiled.as_text())
        own = sum(_chip_bytes(leaf) for leaf in jax.tree.leaves(tree))
        memory = step_memory(parsed, compiled.memory_analysis())
        # The other tower's weights stay where they are.
        memory = dataclasses.replace(memory, clip=memory.clip + weights - own)
        cost = program_cost(parsed, topology.slices)
        towers[name] = TowerFigures(
            memory,
            cost,
            step_floor(cost, topology.chip),
            memory.peak <= topology.chip.usable_bytes,
        )
    return TargetsPlan(topology, config.clip.path or config.clip.id, batch, towers)


def _chip_bytes(leaf: Any) -> int:
    shape = leaf.sharding.shard_shape(leaf.shape)
    return math.prod(shape) * leaf.dtype.itemsize
