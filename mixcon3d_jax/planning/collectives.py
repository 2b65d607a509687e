"""What chips send each other: kinds, groups and bytes of collective instructions."""

import dataclasses
import math
import re

from mixcon3d_jax.planning.hlo import Computation, Instruction
from mixcon3d_jax.planning.shapes import leaves

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")
BETWEEN = " between slices"


@dataclasses.dataclass(frozen=True)
class Collective:
    """One run of a collective, for the chip that has most to send.

    Attributes:
      kind: one of `KINDS`; behind it `BETWEEN` where slices talk to each other.
      payload: bytes of the array: of its whole result for an `all-gather`, else of its input.
      sent: bytes that a chip sends.
    """

    kind: str
    payload: int
    sent: int


def collective(
    instruction: Instruction, computation: Computation, partitions: int, slices: int
) -> Collective | None:
    """What an instruction sends, or None if it is no collective, or ends one that was counted.

    What is sent follows from the usual algorithms, as the compiler doesn't say which it takes: a
    chip of a group of n sends (n-1)/n of an `all-gather`'s result, a `reduce-scatter`'s or an
    `all-to-all`'s input, and twice that for an `all-reduce`.

    Args:
      instruction: of the program.
      computation: that it stands in.
      partitions: chips of a slice.
      slices: that run the program.  Their talk with each other is handed to the host.
    """
    sending = _host_transfer(instruction)
    kind = sending or instruction.opcode.removesuffix("-start").removeprefix("ragged-")
    if kind not in KINDS or (not sending and _goes_on(instruction, computation)):
        return None
    arrays = instruction.operands[:1] if sending else instruction.operands
    size = sum(leaf.data_bytes for name in arrays for leaf in leaves(computation.type_of(name)))
    members = slices if sending else _group_size(instruction, partitions)
    payload = size * members if kind == "all-gather" else size
    if kind == "collective-permute":
        sent = size
    else:
        sent = (2 if kind == "all-reduce" else 1) * payload * (members - 1) // members
    return Collective(kind + BETWEEN * bool(sending), payload, sent)


def _host_transfer(instruction: Instruction) -> str | None:
    """Of what kind a `send` to other slices is, or None if it is none.

    The compiler reduces within a slice first, and sends what remains.
    """
    if instruction.opcode != "send":
        return None
    kind = instruction.attribute(r'_xla_megascale_transfer_type="(\w+)"') or ""
    return "collective-permute" if kind == "ONE_TO_ONE" else kind.lower().replace("_", "-")


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


def _group_size(instruction: Instruction, partitions: int) -> int:
    """Chips that talk to each other; all groups are alike."""
    attributes = instruction.attributes
    if listed := re.search(r"replica_groups=\{\{([\d,]+)\}", attributes):
        return len(listed[1].split(","))
    if iota := re.search(r"replica_groups=\[\d+,(\d+)\]<=", attributes):
        return int(iota[1])
    if mesh := re.search(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}", attributes):
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", mesh[1]))
        # `'a':(2)4` is a part of an axis: 4 chips of it.
        named = re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", mesh[2])
        return math.prod(int(part or sizes[name]) for name, part in named)
    return partitions
