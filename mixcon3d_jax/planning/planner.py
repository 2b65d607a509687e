"""Makes a plan: what a training costs on a topology, whether it fits, and what makes it fit."""

import copy
import dataclasses
from collections.abc import Callable, Sequence

import jax
from ml_collections import ConfigDict

from mixcon3d_jax.planning.compiler import topology_devices
from mixcon3d_jax.planning.cost import Cost
from mixcon3d_jax.planning.floor import Floor, step_floor
from mixcon3d_jax.planning.memory import Memory
from mixcon3d_jax.planning.options import Options, options_of, with_options
from mixcon3d_jax.planning.programs import (
    CompiledStep,
    RefusedStep,
    compile_training_step,
    training_mesh,
)
from mixcon3d_jax.planning.search import Search
from mixcon3d_jax.planning.topology import Topology
from mixcon3d_jax.training import run_config
from mixcon3d_jax.training.log import format_seconds

# Records of the splits whose number is known without the data.
RECORDS = {"train_all": 874_402, "train_no_lvis": 828_197}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a plan is asked for.

    Attributes:
      batch: global; None: the config's.
      records: of the split; None: not known.
      efficiency: share of the floor's speed that a step is expected to reach, more than 0, up to 1.
      search: look for options that fit if the configured ones don't.
      largest: look for the largest batch.
    """

    batch: int | None
    records: int | None
    efficiency: float
    search: bool
    largest: bool


@dataclasses.dataclass(frozen=True)
class Figures:
    """A step with some options.

    Attributes:
      options: that it was compiled with.
      memory, cost: on each chip.
      floor: of its time.
      fits: whether its peak is below what a chip has for a program.
    """

    options: Options
    memory: Memory
    cost: Cost
    floor: Floor
    fits: bool


@dataclasses.dataclass(frozen=True)
class Plan:
    """What was found out.

    Attributes:
      topology: planned for.
      mesh: axis -> size.
      settings: that it was asked for.
      configured: options of the config.
      refused: why the configured step doesn't fit, or "".
      step: of the configured options if they fit, else of the proposed ones, else of the configured
        ones if the compiler took them, else None.
      flags: that make a run do what `step` is of.
      largest_batch: with the options of `step`, or None if not looked for.
      steps: of the whole training, or None if its length isn't known.
    """

    topology: Topology
    mesh: dict[str, int]
    settings: Settings
    configured: Options
    refused: str
    step: Figures | None
    flags: tuple[str, ...]
    largest_batch: int | None
    steps: int | None

    @property
    def step_seconds(self) -> float | None:
        """What a step is expected to take."""
        return self.step.floor.step_seconds(self.settings.efficiency) if self.step else None

    @property
    def hours(self) -> float | None:
        """What the whole training is expected to take, evaluations and saving not counted."""
        return self.steps * self.step_seconds / 3600 if self.steps and self.step else None


def make_plan(
    config: ConfigDict, topology: Topology, settings: Settings, say: Callable[[str], None]
) -> Plan:
    """Compiles the training step of a config for a topology, and others if it is told to search.

    Args:
      config: of the run.
      topology: to run on.
      settings: of the plan.
      say: takes lines about what is going on.

    Raises:
      InputError: if the config doesn't fit itself or the topology.
    """
    given, config = config, copy.deepcopy(config)
    if settings.batch is not None:
        config.optim.batch_size = settings.batch
    if topology.slices > 1 and config.mesh.replica == 1:
        config.mesh.replica = topology.slices
    run_config.check_values(config)
    devices = topology_devices(topology)
    mesh = training_mesh(config, devices)
    compiler = _Compiler(config, devices, say)
    start = options_of(config)
    limit = topology.chip.usable_bytes
    split = mesh.size // topology.slices if config.mesh.data == -1 else 1
    search = Search(compiler.needs, mesh.size, limit, config.clip.embedding_size, split)
    found = search.proposal(start) if settings.search else start if search.fits(start) else None
    figures = compiler.figures(found or start, topology)
    largest = None
    if found and settings.largest:
        seconds = format_seconds(3 * compiler.expected_seconds)
        say(f"looking for the largest batch: about 3 compilations, {seconds}")
        largest = search.largest_batch(found).batch_size
    changed = figures.options if figures else start
    final = with_options(config, changed)
    return Plan(
        topology=topology,
        mesh=dict(training_mesh(final, devices).shape),
        settings=settings,
        configured=start,
        refused="" if found == start else compiler.refusal(start, limit),
        step=figures,
        flags=_flags(given, final),
        largest_batch=largest,
        steps=run_config.total_steps(config, settings.records) if settings.records else None,
    )


def _flags(given: ConfigDict, final: ConfigDict) -> tuple[str, ...]:
    changes = options_of(final).changes(options_of(given))
    if final.mesh.replica != given.mesh.replica:
        changes["mesh.replica"] = final.mesh.replica
    return tuple(f"--config.{key}={value}" for key, value in changes.items())


class _Compiler:
    """Compiles with given options, once each, and says so."""

    def __init__(
        self, config: ConfigDict, devices: Sequence[jax.Device], say: Callable[[str], None]
    ):
        self._config, self._devices, self._say = config, devices, say
        self._steps: dict[Options, CompiledStep | RefusedStep] = {}

    def needs(self, options: Options) -> int | None:
        """Bytes that a chip needs, or None if the compiler refuses the step."""
        known = f", about {format_seconds(self.expected_seconds)}" if self._steps else ""
        self._say(f"compiling {describe(options)}{known} ...")
        step = compile_training_step(with_options(self._config, options), self._devices)
        self._steps[options] = step
        if isinstance(step, RefusedStep):
            self._say(f"  refused after {format_seconds(step.seconds)}: {step.message}")
            return None
        peak = step.memory.peak / 2**30
        self._say(f"  {peak:.2f} GiB a chip, after {format_seconds(step.seconds)}")
        return step.memory.peak

    @property
    def expected_seconds(self) -> float:
        """What a compilation takes, by those before; 0 if there is none."""
        return max((step.seconds for step in self._steps.values()), default=0.0)

    def figures(self, options: Options, topology: Topology) -> Figures | None:
        """Figures of a step that was compiled, or None if there is none."""
        step = self._steps.get(options)
        if not isinstance(step, CompiledStep):
            return None
        cost = step.cost()
        return Figures(
            options=options,
            memory=step.memory,
            cost=cost,
            floor=step_floor(cost, topology.chip),
            fits=step.memory.peak <= topology.chip.usable_bytes,
        )

    def refusal(self, options: Options, limit: int) -> str:
        """Why options don't fit."""
        match self._steps.get(options):
            case RefusedStep(message=message):
                return f"the compiler refuses it: {message}"
            case CompiledStep(memory=memory):
                return f"it needs {memory.peak / 2**30:.2f} GiB of {limit / 2**30:.2f}"
        return (
            "by the straight line through smaller batches it needs far more than the "
            f"{limit / 2**30:.2f} GiB that there are (it was not compiled)"
        )


def describe(options: Options) -> str:
    """Options in words."""
    parts = [f"batch {options.batch_size:,}"]
    if options.accum_steps > 1:
        parts.append(f"in {options.accum_steps} micro-batches")
    parts += [options.dtype, f"negatives by {options.negatives}"]
    parts += ["rematerialised"] * options.remat
    return ", ".join(parts + [f"fsdp {options.fsdp}"] * (options.fsdp != 1))
