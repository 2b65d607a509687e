"""What chips send each other: kinds, groups and bytes of collective instructions."""

import dataclasses
import itertools
import math
import re
from collections.abc import Sequence

import numpy as np

from mixcon3d_jax.planning.hlo import Computation, Instruction
from mixcon3d_jax.planning.shapes import leaves

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")

_IOTA = r"\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?"


@dataclasses.dataclass(frozen=True)
class Collective:
    """One run of a collective, for the chip that has most to send.

    Attributes:
      kind: one of `KINDS`.
      payload: bytes of the array: of its whole result for an `all-gather`, else of its input.
      within: bytes that a chip sends to chips of its own slice.
      across: bytes that a chip sends to other slices.
    """

    kind: str
    payload: int
    within: int
    across: int


def collective(
    instruction: Instruction, computation: Computation, slice_of: Sequence[int]
) -> Collective | None:
    """What an instruction sends, or None if it is no collective, or ends one that was counted.

    What is sent follows from the usual algorithms, as the compiler doesn't say which it takes: a
    chip of a group of n sends (n-1)/n of an `all-gather`'s result, a `reduce-scatter`'s or an
    `all-to-all`'s input, and twice that for an `all-reduce`.  A group over s slices reduces within
    each slice first, so that only 1/m of the array, for m chips of the group a slice, crosses.

    Args:
      instruction: of the program.
      computation: that it stands in.
      slice_of: for each partition of the program the number of its slice.
    """
    kind = instruction.opcode.removesuffix("-start")
    if kind == "ragged-all-to-all":
        kind = "all-to-all"
    if kind not in KINDS or _goes_on(instruction, computation):
        return None
    operands = sum(
        leaf.data_bytes
        for name in instruction.operands
        for leaf in leaves(computation.type_of(name))
    )
    if kind == "collective-permute":
        pairs = _pairs(instruction)
        moving = [(a, b) for a, b in pairs if a != b]
        across = any(slice_of[a] != slice_of[b] for a, b in moving)
        within = any(slice_of[a] == slice_of[b] for a, b in moving)
        return Collective(kind, operands, operands * within, operands * across)
    group = _group(instruction, len(slice_of))
    chips = len(group)
    payload = operands * chips if kind == "all-gather" else operands
    slices = len({slice_of[chip] for chip in group})
    mates = chips // slices
    within, across = _sent(kind, payload, mates, slices)
    return Collective(kind, payload, within, across)


def _sent(kind: str, payload: int, mates: int, slices: int) -> tuple[int, int]:
    """Bytes sent within and across slices by a chip with `mates` chips of its group a slice."""
    times = 2 if kind == "all-reduce" else 1
    if kind == "all-to-all":
        chips = mates * slices
        return payload * (mates - 1) // chips, payload * (slices - 1) * mates // chips
    within = times * payload * (mates - 1) // mates
    across = times * payload // mates * (slices - 1) // slices
    return within, across


def _goes_on(instruction: Instruction, computation: Computation) -> bool:
    """Whether the instruction only shows that a collective is under way, or that it ends.

    The TPU compiler puts a collective that runs beside other work into every fusion that it runs
    beside; the one that starts it hands it to `AsyncCollectiveStart`.
    """
    if not computation.name.startswith(("async_collective", "fused_computation")):
        return False
    marks = {
        other.attribute(r'custom_call_target="(\w+)"')
        for other in computation.instructions.values()
        if other.opcode == "custom-call"
    }
    if "AsyncCollectiveDone" in marks:
        return True
    starts = any(
        user.attribute(r'custom_call_target="(\w+)"') == "AsyncCollectiveStart"
        for user in computation.users[instruction.name]
    )
    return computation.name.startswith("async_collective") and not starts


def _pairs(instruction: Instruction) -> list[tuple[int, int]]:
    text = instruction.attribute(r"source_target_pairs=\{((?:\{\d+,\d+\},?)*)\}") or ""
    return [(int(a), int(b)) for a, b in re.findall(r"\{(\d+),(\d+)\}", text)]


def _group(instruction: Instruction, partitions: int) -> list[int]:
    """The first of the groups that talk to each other, which are all alike."""
    attributes = instruction.attributes
    if listed := re.search(r"replica_groups=\{(\{[\d,]+\})", attributes):
        return [int(chip) for chip in re.findall(r"\d+", listed[1])]
    if iota := re.search(rf"replica_groups={_IOTA}", attributes):
        return _iota(*iota.groups())[0].tolist()
    if mesh := re.search(r"replica_groups=mesh\[([^\]]*)\]([^{]*)\{([^}]*)\}", attributes):
        return _mesh_group(*mesh.groups())
    return list(range(partitions))


def _iota(shape: str, source: str, order: str | None) -> np.ndarray:
    """Of `[2,4]<=[4,2]T(1,0)`: numbers in the source's shape, transposed, then reshaped."""
    sizes = [int(size) for size in source.split(",")]
    numbers = np.arange(math.prod(sizes)).reshape(sizes)
    if order:
        numbers = numbers.transpose([int(axis) for axis in order.split(",")])
    return numbers.reshape([int(size) for size in shape.split(",")])


def _mesh_group(mesh: str, order: str, axes: str) -> list[int]:
    """Of `'a'=4,'b'=2` and `'a'`: chips whose places differ along the named axes alone."""
    sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", mesh)}
    chips = np.arange(math.prod(sizes.values()))
    if iota := re.search(_IOTA, order):
        chips = _iota(*iota.groups()).ravel()
    elif listed := re.search(r"device_ids=\(([\d, ]+)\)", order):
        chips = np.array([int(chip) for chip in listed[1].split(",")])
    chips = chips.reshape(list(sizes.values()))
    # `'a':(2)4` is a part of an axis: 4 steps of it, behind 2 larger ones.
    named = re.findall(r"'([^']+)'(?::\((\d+)\)(\d+))?", axes)
    places = {name: {0} for name in sizes}
    for name, before, part in named:
        if part:
            stride = sizes[name] // (int(before) * int(part))
            steps = range(0, int(part) * stride, stride)
            places[name] = {a + b for a, b in itertools.product(places[name], steps)}
        else:
            places[name] = set(range(sizes[name]))
    return chips[np.ix_(*(sorted(places[name]) for name in sizes))].ravel().tolist()
