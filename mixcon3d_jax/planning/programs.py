"""The programs that a plan is made for, compiled for a topology."""

import dataclasses
import re
import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, UInt8
from ml_collections import ConfigDict

from mixcon3d_jax.models.clip import NUMERICS, ClipConfig
from mixcon3d_jax.models.clip_config import read_config
from mixcon3d_jax.models.clip_hub import find_clip
from mixcon3d_jax.models.clip_variants import VARIANTS
from mixcon3d_jax.models.clip_weights import abstract_clip
from mixcon3d_jax.planning.cost import Cost, program_cost
from mixcon3d_jax.planning.hlo import Program, parse_program
from mixcon3d_jax.planning.memory import Memory, step_memory
from mixcon3d_jax.sharding import check_accumulation, check_batch, make_mesh
from mixcon3d_jax.training import run_config
from mixcon3d_jax.training.optimizer import make_optimizer
from mixcon3d_jax.training.state import abstract_state
from mixcon3d_jax.training.step import abstract_batch, compile_train_step
from mixcon3d_jax.training.towers import Towers

# The schedule's length stands in a step as a number; which one, changes nothing else.
_SOME_RECORDS = 1_000_000


@dataclasses.dataclass(frozen=True)
class CompiledStep:
    """A training step that the TPU compiler took.

    Attributes:
      memory: on each chip.
      program: as the compiler optimised it.
      slices: that it runs on.
      seconds: that it was compiled in.
    """

    memory: Memory
    program: Program
    slices: int
    seconds: float

    def cost(self) -> Cost:
        """What a run of it costs a chip."""
        return program_cost(self.program, self.slices)


@dataclasses.dataclass(frozen=True)
class RefusedStep:
    """A training step that the TPU compiler refused, as it needs too much memory.

    Attributes:
      message: the compiler's.
      seconds: that it took to say so.
    """

    message: str
    seconds: float


def training_mesh(config: ConfigDict, devices: Sequence[jax.Device]) -> Mesh:
    """The mesh that a config asks for, of a topology's devices."""
    return make_mesh(config.mesh.replica, config.mesh.data, config.mesh.fsdp, list(devices))


def compile_training_step(
    config: ConfigDict, devices: Sequence[jax.Device]
) -> CompiledStep | RefusedStep:
    """Compiles the step that `python -m mixcon3d_jax.train` runs with this config.

    Args:
      config: of the run.
      devices: of a topology.

    Raises:
      InputError: if the config doesn't fit itself or the devices.
    """
    mesh = training_mesh(config, devices)
    check_batch(config.optim.batch_size, mesh, "config.optim.batch_size")
    check_accumulation(config.optim.batch_size, config.optim.accum_steps, mesh)
    step_config = run_config.step_config(config, _SOME_RECORDS)
    state = abstract_state(step_config.model, make_optimizer(step_config.optimizer), mesh)
    clip = clip_sizes(config) if config.targets == "towers" else None
    towers, frozen = None, ()
    if clip is not None:
        abstract = abstract_clip(clip, NUMERICS[config.clip.dtype], mesh)
        towers, weights = Towers.of(abstract, to_tower, config.clip.images_at_once)
        frozen = (weights,)
    batch = abstract_batch(
        config.optim.batch_size,
        config.data.num_points,
        config.data.num_views,
        config.clip.embedding_size,
        mesh,
        clip,
    )
    began = time.perf_counter()
    try:
        step = compile_train_step(step_config, mesh, state, towers)
        compiled = step.lower(state, batch, *frozen).compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return RefusedStep(_short(str(error)), time.perf_counter() - began)
    seconds = time.perf_counter() - began
    program = parse_program(compiled.as_text())
    memory = step_memory(program, compiled.memory_analysis())
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    return CompiledStep(memory, program, slices, seconds)


def clip_sizes(config: ConfigDict) -> ClipConfig:
    """Sizes of a run's CLIP: a published one's by its name alone, another's from its folder.

    Raises:
      ClipError: there is no such CLIP.
    """
    name = config.clip.path or config.clip.id
    return VARIANTS[name] if name in VARIANTS else read_config(find_clip(name).folder)


def to_tower(pixels: UInt8[Array, "n size size 3"]) -> Float[Array, "n size size 3"]:
    """What a processor does, with some mean and deviation: their values change no figure."""
    return (pixels.astype(jnp.float32) - 127.5) / 70.0


def _short(message: str) -> str:
    """The sentence of a compiler's complaint that has the figures."""
    found = re.search(r"RESOURCE_EXHAUSTED: *(.*?)(?:\n|$)", message)
    return found[1].strip() if found else message.splitlines()[0]
