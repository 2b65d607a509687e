"""A plan for people, and for programs."""

import dataclasses
from typing import Any

from mixcon3d_jax.planning.chips import GIB
from mixcon3d_jax.planning.cost import Cost
from mixcon3d_jax.planning.floor import Floor
from mixcon3d_jax.planning.memory import Memory
from mixcon3d_jax.planning.planner import Figures, Plan, describe
from mixcon3d_jax.planning.targets import TargetsPlan, TowerFigures
from mixcon3d_jax.planning.topology import Topology

_MEMORY = {
    "parameters": "parameters",
    "average": "their average (EMA)",
    "moments": "optimiser's moments",
    "statistics": "running statistics",
    "clip": "weights of the frozen CLIP",
    "batch": "batch",
    "next_batch": "the next batch",
    "other": "other arguments, results, padding",
    "temporaries": "temporaries",
    "code": "program",
}
_OWN_ESTIMATE = "the compiler's own estimate"
_TIMES = {
    "products": "matrix products at the peak",
    "memory": "bytes at HBM's bandwidth",
    "links": "messages within a slice",
    "network": "messages between slices",
}


def to_text(plan: Plan, name: str) -> str:
    """The plan as a page of text.

    Args:
      plan: to tell.
      name: of the config.
    """
    topology, chip = plan.topology, plan.topology.chip
    shape = " x ".join(f"{axis} {size}" for axis, size in plan.mesh.items())
    parts = [
        f"{name} on {topology.name}: {topology.chips} chips of {topology.kind} with "
        f"{chip.hbm_bytes / GIB:.0f} GiB, mesh {shape}\nas configured: {describe(plan.configured)}"
    ]
    if plan.refused:
        parts.append(f"The step as configured DOES NOT FIT: {plan.refused}.")
    if plan.step:
        parts += _step(plan, plan.step)
    parts.append(_verdict(plan))
    return "\n\n".join(parts)


def to_json(plan: Plan, name: str) -> dict[str, Any]:
    """The plan as plain values, for `json.dumps`: bytes, seconds, FLOPs; per chip, per step."""
    topology = plan.topology
    return {
        "config": name,
        "topology": {
            "name": topology.name,
            "accelerator_type": topology.accelerator_type,
            "slices": topology.slices,
            "chips": topology.chips,
            "chip": dataclasses.asdict(topology.chip),
            "usable_bytes": topology.chip.usable_bytes,
        },
        "mesh": plan.mesh,
        "configured": dataclasses.asdict(plan.configured),
        "fits_as_configured": not plan.refused,
        "refused": plan.refused,
        "fits": bool(plan.step and plan.step.fits),
        "flags": list(plan.flags),
        "step": _step_json(plan.step) if plan.step else None,
        "largest_batch": plan.largest_batch,
        "training": {
            "records": plan.settings.records,
            "steps": plan.steps,
            "efficiency": plan.settings.efficiency,
            "step_seconds": plan.step_seconds,
            "hours": plan.hours,
            "measured": False,
        },
    }


def targets_to_text(plan: TargetsPlan) -> str:
    """The plan of embedding ahead as a page of text."""
    topology = plan.topology
    parts = [
        f"{plan.clip} on {topology.name}: {topology.chips} chips of {topology.kind}, batches of "
        f"{plan.batch:,}"
    ]
    for name, figures in plan.towers.items():
        parts += [
            f"The tower of {name}",
            _memory(figures.memory, topology),
            _work(figures.cost),
            _messages(figures.cost),
            _time(figures.floor),
        ]
    for name, figures in plan.towers.items():
        most = plan.batch / figures.floor.seconds
        verdict = "FITS" if figures.fits else "DOES NOT FIT"
        parts.append(
            f"{name}: {verdict}; at most {most:,.0f} a second, by the floor (not measured)"
        )
    return "\n\n".join(parts)


def targets_to_json(plan: TargetsPlan) -> dict[str, Any]:
    """The same as plain values: bytes, seconds, FLOPs; per chip, per batch."""
    return {
        "clip": plan.clip,
        "topology": {"name": plan.topology.name, "chips": plan.topology.chips},
        "batch": plan.batch,
        "fits": all(figures.fits for figures in plan.towers.values()),
        "towers": {name: _figures_json(figures) for name, figures in plan.towers.items()},
        "measured": False,
    }


def _step_json(step: Figures) -> dict[str, Any]:
    return {"options": dataclasses.asdict(step.options)} | _figures_json(step)


def _figures_json(step: Figures | TowerFigures) -> dict[str, Any]:
    memory, cost, floor = (
        dataclasses.asdict(part) for part in (step.memory, step.cost, step.floor)
    )
    return {
        "fits": step.fits,
        "memory": memory | {"peak": step.memory.peak},
        "cost": cost | {"flops": step.cost.flops, "pass_flops": step.cost.pass_flops},
        "floor": floor | {"seconds": step.floor.seconds, "bound": step.floor.bound},
    }


def _step(plan: Plan, step: Figures) -> list[str]:
    title = "The step as configured" if step.options == plan.configured else "The step proposed"
    rows = step.options.rows(plan.topology.chips)
    return [
        f"{title}: {describe(step.options)}; {rows} rows a chip at once",
        _memory(step.memory, plan.topology),
        _work(step.cost),
        _messages(step.cost),
        _time(step.floor),
    ]


def _memory(memory: Memory, topology: Topology) -> str:
    values = dataclasses.asdict(memory)
    lines = ["Memory of a chip, MiB"]
    lines += [f"  {text:<36}{values[key] / 2**20:10,.1f}" for key, text in _MEMORY.items()]
    chip = topology.chip
    lines.append(f"  {'peak':<36}{memory.peak / 2**20:10,.1f}")
    lines.append(
        f"  {'for programs':<36}{chip.usable_bytes / 2**20:10,.1f}"
        f"   {chip.hbm_bytes / 2**20:,.0f} less {chip.reserved_bytes / 2**20:,.0f} reserved"
    )
    return "\n".join(lines)


def _work(cost: Cost) -> str:
    lines = ["Work of a chip in a step, loops counted as often as they run"]
    for kind, entry in sorted(cost.products.items()):
        passes = f"   x {entry.passes} bfloat16 passes" if entry.passes > 1 else ""
        lines.append(f"  {f'products {kind}, GFLOP':<36}{entry.flops / 1e9:10,.1f}{passes}")
    lines.append(f"  {'other operations, G':<36}{cost.elementwise / 1e9:10,.1f}")
    lines.append(f"  {'bytes to and from HBM, GB':<36}{cost.hbm_bytes / 1e9:10,.2f}")
    by_part = sorted(cost.part_bytes.items(), key=lambda item: -item[1])
    lines += [
        f"    {part.replace('_', ' '):<34}{moved / 1e9:10,.2f}"
        for part, moved in by_part
        if round(moved / 1e9, 2)
    ]
    if cost.unknown_loops:
        lines.append(f"  loops of unknown length, counted once: {', '.join(cost.unknown_loops)}")
    return "\n".join(lines)


def _messages(cost: Cost) -> str:
    if not cost.messages:
        return "Messages of a chip in a step: none"
    lines = [f"{'Messages of a chip in a step':<38}{'number':>12}{'array, MB':>11}{'sent, MB':>11}"]
    for kind, sent in sorted(cost.messages.items()):
        lines.append(
            f"  {kind:<36}{sent.count:12,}{sent.payload / 1e6:11,.1f}{sent.sent / 1e6:11,.1f}"
        )
    return "\n".join(lines)


def _time(floor: Floor) -> str:
    lines = ["Time of a step, ms: from the compiled program, not measured"]
    for key, text in _TIMES.items():
        mark = "   <- the floor" if key == floor.bound else ""
        lines.append(f"  {text:<36}{getattr(floor, key) * 1e3:10,.2f}{mark}")
    lines.append(f"  {_OWN_ESTIMATE:<36}{floor.schedule * 1e3:10,.2f}")
    return "\n".join(lines)


def _verdict(plan: Plan) -> str:
    lines = []
    if plan.step and plan.step.fits:
        flags = f" with {' '.join(plan.flags)}" if plan.flags else ""
        lines.append(f"FITS{flags}")
    else:
        lines.append("DOES NOT FIT" + (", nor does anything tried" if plan.settings.search else ""))
    if plan.largest_batch:
        lines.append(f"largest batch with these settings (powers of two): {plan.largest_batch:,}")
    if plan.step and plan.hours is not None:
        lines.append(
            f"training: {plan.settings.records:,} records make {plan.steps:,} steps of "
            f"{plan.step_seconds * 1e3:,.1f} ms, {plan.hours:,.1f} hours at an efficiency of "
            f"{plan.settings.efficiency:g} (an estimate; without evaluations, reading and saving)"
        )
    elif plan.step:
        lines.append("training: how many records the split has is not known; give --records=N")
    return "\n".join(lines)
