"""How often a loop of a compiled program runs."""

import dataclasses
import math
from collections.abc import Callable

from mixcon3d_jax.planning.hlo import Computation, Instruction, Program

_PASS_ON = ("copy", "bitcast", "convert", "reshape", "copy-done", "copy-start", "broadcast")


@dataclasses.dataclass(frozen=True)
class Scope:
    """A computation, and where its parameters' values come from.

    Attributes:
      computation: whose instructions are evaluated.
      arguments: for each parameter the scope and the instruction that it gets its value of; of a
        loop's body, the loop's operand.
      fixed: values of entries of the first parameter, a tuple, that are known by assumption.
    """

    computation: Computation
    arguments: tuple[tuple["Scope", str], ...] = ()
    fixed: dict[int, int] = dataclasses.field(default_factory=dict)


def trip_count(program: Program, loop: Instruction, scope: Scope) -> int | None:
    """How often a `while` instruction's body runs, or None where the text doesn't say.

    Takes the compiler's word (`known_trip_count`) where it stands, else counts from the initial
    value, the limit in the condition and the step in the body, which must be constants.
    """
    known = loop.attribute(r'known_trip_count\\?"?:\{\\?"n\\?"?:\\?"(\d+)')
    if known is not None:
        return int(known)
    condition = program.computations[loop.called["condition"][0]]
    body = program.computations[loop.called["body"][0]]
    for index in _counters(condition):
        first = value(program, scope, loop.operands[0], (index,))
        if first is None:
            continue
        inside = loop_scope(body, loop, scope, fixed={index: first})
        second = value(program, inside, body.root, (index,))
        if second is None or second == first:
            continue

        def goes_on(counter: int, index: int = index) -> int | None:
            at = loop_scope(condition, loop, scope, fixed={index: counter})
            return value(program, at, condition.root)

        return _count(goes_on, first, second - first)
    return None


def loop_scope(
    computation: Computation, loop: Instruction, scope: Scope, fixed: dict[int, int] | None = None
) -> Scope:
    """The scope inside a loop that stands in `scope`; what the loop doesn't change keeps its value.

    Args:
      computation: the loop's body or its condition.
      loop: the `while` instruction.
      scope: that it stands in.
      fixed: entries of the loop's state with a value known by assumption.
    """
    return Scope(computation, ((scope, loop.operands[0]),), fixed or {})


def value(program: Program, scope: Scope, name: str, path: tuple[int, ...] = ()) -> int | None:
    """The integer (or truth value, 0 or 1) that an instruction gives, or None if it isn't constant.

    Args:
      program: that the scope is of.
      scope: to look names up in.
      name: of an instruction there.
      path: which entry of it, if it gives a tuple.
    """
    instruction = scope.computation.instructions[name]
    operands = instruction.operands

    def operand(number: int, path: tuple[int, ...] = ()) -> int | None:
        return value(program, scope, operands[number], path)

    match instruction.opcode:
        case "constant":
            return _literal(operands[0])
        case "get-tuple-element":
            index = int(instruction.attribute(r"index=(\d+)"))
            return operand(0, (index, *path))
        case "tuple":
            return value(program, scope, operands[path[0]], path[1:]) if path else None
        case "parameter":
            return _argument(program, scope, int(operands[0]), path)
        case "fusion" | "call":
            called = instruction.called.get("calls") or instruction.called["to_apply"]
            inner = program.computations[called[0]]
            arguments = tuple((scope, name) for name in operands)
            return value(program, Scope(inner, arguments), inner.root, path)
        case "while":
            body = program.computations[instruction.called["body"][0]]
            return operand(0, path) if path and _kept(body, path[0]) else None
        case opcode if opcode in _PASS_ON:
            return operand(0, path)
        case "add" | "subtract" | "multiply" | "and" | "or" | "compare":
            left, right = operand(0), operand(1)
            if left is None or right is None:
                return None
            return _binary(instruction, left, right)
    return None


def _argument(program: Program, scope: Scope, number: int, path: tuple[int, ...]) -> int | None:
    if path and number == 0 and path[0] in scope.fixed:
        return scope.fixed[path[0]]
    if number >= len(scope.arguments):
        return None
    outer, name = scope.arguments[number]
    loop = _loop_with(outer.computation, name, scope.computation.name)
    if loop is not None:
        # An entry of a loop's state has the value from before the loop only if no turn changes it.
        body = program.computations[loop.called["body"][0]]
        if not path or not _kept(body, path[0]):
            return None
    return value(program, outer, name, path)


def _loop_with(computation: Computation, operand: str, inside: str) -> Instruction | None:
    for user in computation.users[operand]:
        if user.opcode == "while" and inside in (*user.called["body"], *user.called["condition"]):
            return user
    return None


def _kept(body: Computation, index: int) -> bool:
    """Whether a loop's body gives an entry of its state on as it got it."""
    result = body.result
    if result.opcode != "tuple":
        return False
    entry = body.instructions[result.operands[index]]
    while entry.opcode in ("copy", "bitcast"):
        entry = body.instructions[entry.operands[0]]
    return (
        entry.opcode == "get-tuple-element"
        and int(entry.attribute(r"index=(\d+)")) == index
        and body.instructions[entry.operands[0]].opcode == "parameter"
    )


def _counters(condition: Computation) -> list[int]:
    """Entries of the loop's state that its condition looks at."""
    return [
        int(instruction.attribute(r"index=(\d+)"))
        for instruction in condition.instructions.values()
        if instruction.opcode == "get-tuple-element"
    ]


def _count(goes_on: Callable[[int], int | None], first: int, step: int) -> int | None:
    """Turns until `goes_on` says no of the counter; as it does so for good, they are bracketed."""
    if goes_on(first) is None:
        return None
    if not goes_on(first):
        return 0
    high = 1
    while goes_on(first + high * step):
        high *= 2
        if high > 2**40:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if goes_on(first + middle * step) else (low, middle)
    return high


def _binary(instruction: Instruction, left: int, right: int) -> int:
    if instruction.opcode == "compare":
        direction = instruction.attribute(r"direction=(\w+)")
        return int(
            {
                "LT": left < right,
                "LE": left <= right,
                "GT": left > right,
                "GE": left >= right,
                "EQ": left == right,
                "NE": left != right,
            }[direction]
        )
    return {
        "add": left + right,
        "subtract": left - right,
        "multiply": left * right,
        "and": left & right,
        "or": left | right,
    }[instruction.opcode]


def _literal(text: str) -> int | None:
    if text in ("true", "false"):
        return int(text == "true")
    try:
        return int(text)
    except ValueError:
        try:
            number = float(text)
        except ValueError:
            return None
        return int(number) if math.isfinite(number) and number == int(number) else None
