"""Which part of a training step an instruction of its program belongs to."""

import re
from collections.abc import Callable, Iterable

from mixcon3d_jax.planning.hlo import Computation, Instruction
from mixcon3d_jax.planning.shapes import leaves

# Names that the model and the training step give to their parts (`jax.named_scope`).  `embed` is
# what else the encoder and the heads do.
PARTS = (
    "augmentation",
    "towers",
    "embed",
    "sampling",
    "ball_query",
    "gather",
    "set_abstraction",
    "blocks",
    "losses",
    "optimizer",
    "ema",
)
OTHER = "other"
_PART = re.compile(rf"[/(]({'|'.join(PARTS)})(?=[/)])")


def part_of(instruction: Instruction, computation: Computation) -> str:
    """The innermost of the `PARTS` that an instruction belongs to, or `OTHER`.

    The compiler moves arrays ahead of their use, or out of the way, by copies of its own, which
    have no name.  A copy to HBM belongs to the part that made the array, any other to the one that
    uses it.
    """
    if _name(instruction) is not None:
        return _named_part(instruction)

    def made(current: Instruction) -> Iterable[Instruction]:
        return (computation.instructions[operand] for operand in current.operands)

    def used(current: Instruction) -> Iterable[Instruction]:
        return computation.users[current.name]

    first, second = (made, used) if _goes_to_hbm(instruction) else (used, made)
    part = _nearest_part(instruction, first)
    return part if part != OTHER else _nearest_part(instruction, second)


def _nearest_part(
    instruction: Instruction, neighbors: Callable[[Instruction], Iterable[Instruction]]
) -> str:
    """The part of the nearest instruction that has one, by way of those without a name."""
    pending, seen = [instruction], {instruction.name}
    for current in pending:  # grows
        if current.opcode in ("parameter", "constant"):
            continue
        for neighbor in neighbors(current):
            if (part := _named_part(neighbor)) != OTHER:
                return part
            if _name(neighbor) is None and neighbor.name not in seen:
                seen.add(neighbor.name)
                pending.append(neighbor)
    return OTHER


def _name(instruction: Instruction) -> str | None:
    return instruction.attribute(r'op_name="([^"]+)"')


def _named_part(instruction: Instruction) -> str:
    names = _PART.findall(_name(instruction) or "")
    return names[-1] if names else OTHER


def _goes_to_hbm(instruction: Instruction) -> bool:
    match instruction.opcode:
        case "copy-start":  # (destination, source, flag)
            target = instruction.type[0]
        case "slice-start":  # ((source), destination, flag)
            target = instruction.type[1]
        case _:
            target = instruction.type
    return any(leaf.in_hbm for leaf in leaves(target))
