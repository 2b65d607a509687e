"""Bytes that an instruction reads from a chip's large memory (HBM) and writes to it."""

from mixcon3d_jax.planning.hlo import Computation, Instruction, Program
from mixcon3d_jax.planning.shapes import Shape, Type, leaves

# They name, reshape or group what is there; or their work is counted inside, or at their start.
_FREE = frozenset(
    [
        "parameter",
        "constant",
        "tuple",
        "get-tuple-element",
        "bitcast",
        "after-all",
        "while",
        "conditional",
        "call",
        "partition-id",
        "replica-id",
        "opt-barrier",
        "copy-done",
        "slice-done",
        "async-done",
        "async-update",
        "all-reduce-done",
        "all-gather-done",
        "collective-permute-done",
        "send-done",
        "recv-done",
        "domain",
    ]
)
# Of their first operand they read only what they give.
_PARTIAL = frozenset(("slice", "dynamic-slice", "gather"))
# Fused: their value is their operand's, so what reads it counts.
_SAME = frozenset(("bitcast", "copy", "reshape", "transpose", "convert", "get-tuple-element"))


def hbm_bytes(instruction: Instruction, computation: Computation, program: Program) -> int:
    """Bytes moved between HBM and the chip by one run of an instruction.

    What lies in on-chip memory costs nothing, padding counts, of what is sliced the slice alone.  A
    TPU has no caches: every operand of a fusion is read once, and every result written.
    """
    opcode = instruction.opcode
    if opcode in _FREE:
        return 0
    if opcode in ("copy-start", "slice-start"):
        # They give (destination, source, flag) and ((source), destination, flag).
        source = leaves(computation.type_of(instruction.operands[0]))[0]
        target = leaves(instruction.type[0 if opcode == "copy-start" else 1])[0]
        return target.bytes * (source.in_hbm + target.in_hbm)
    if opcode in ("send", "recv"):
        # To and from the host; what they give is the array, a context and a token.
        return _bytes(leaves(instruction.type)[0])
    if opcode == "fusion":
        return _fusion_bytes(instruction, computation, program)
    if opcode == "dynamic-update-slice":
        update = leaves(computation.type_of(instruction.operands[1]))[0]
        target = leaves(instruction.type)[0]
        return (_bytes(update) if update.in_hbm else 0) + (update.bytes if target.in_hbm else 0)
    read = sum(
        _bytes(leaf)
        for number, name in enumerate(instruction.operands)
        for leaf in _read(instruction, number, computation.type_of(name))
    )
    # A collective that starts gives its operand, its result, and flags.
    given = instruction.type
    written = given[1] if opcode.endswith("-start") and isinstance(given, tuple) else given
    return read + sum(_bytes(leaf) for leaf in leaves(written))


def _bytes(shape: Shape) -> int:
    return shape.bytes if shape.in_hbm else 0


def _read(instruction: Instruction, number: int, operand: Type) -> list[Shape]:
    """What an instruction reads of an operand."""
    if number == 0 and instruction.opcode in _PARTIAL:
        place = leaves(operand)[0].space
        return [
            Shape(leaf.type, leaf.dims, leaf.minor_to_major, leaf.tile, place)
            for leaf in leaves(instruction.type)[:1]
        ]
    return leaves(operand)


def _fusion_bytes(instruction: Instruction, computation: Computation, program: Program) -> int:
    inner = program.computations[instruction.called["calls"][0]]
    total = 0
    for operand, parameter in zip(instruction.operands, inner.parameters, strict=True):
        place = leaves(computation.type_of(operand))
        if any(leaf.in_hbm for leaf in place):
            total += _bytes_read(parameter, inner)
    return total + _bytes_written(instruction, inner)


def _bytes_read(parameter: Instruction, inner: Computation) -> int:
    """Bytes of a fusion's operand that are read: all, or what slices and gathers take of it."""
    whole = sum(leaf.bytes for leaf in leaves(parameter.type))
    parts, pending = 0, [parameter.name]
    while pending:
        name = pending.pop()
        for user in inner.users[name]:
            first = user.operands[0] == name
            if user.opcode in ("slice", "dynamic-slice", "gather") and first:
                parts += leaves(user.type)[0].bytes
            elif user.opcode == "dynamic-update-slice" and first:
                continue  # written in place
            elif user.opcode in _SAME:
                pending.append(user.name)
            elif user.opcode == "tuple" or _under_way(user):
                continue  # passed on
            else:
                return whole
    return min(parts, whole)


def _bytes_written(instruction: Instruction, inner: Computation) -> int:
    """Bytes that a fusion writes: its result without what it only passes on."""
    root = inner.result
    results = (
        [inner.instructions[name] for name in root.operands] if root.opcode == "tuple" else [root]
    )
    types = instruction.type if root.opcode == "tuple" else (instruction.type,)
    total = 0
    for result, written in zip(results, types, strict=True):
        source = _source(result, inner)
        if source.opcode == "parameter" or _under_way(source):
            continue
        if source.opcode == "dynamic-update-slice":
            update = leaves(inner.type_of(source.operands[1]))[0]
            total += update.bytes * leaves(written)[0].in_hbm
        else:
            total += sum(_bytes(leaf) for leaf in leaves(written))
    return total


def _source(instruction: Instruction, inner: Computation) -> Instruction:
    while instruction.opcode in ("bitcast", "get-tuple-element"):
        instruction = inner.instructions[instruction.operands[0]]
    return instruction


def _under_way(instruction: Instruction) -> bool:
    """Whether it belongs to a collective that runs beside: its bytes are the collective's."""
    target = instruction.attribute(r'custom_call_target="(\w+)"') or ""
    return target.startswith("AsyncCollective") or instruction.opcode in (
        "all-gather",
        "all-reduce",
        "reduce-scatter",
        "collective-permute",
        "all-to-all",
    )
