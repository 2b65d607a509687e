"""An optimised program as the compiler prints it (`compiled.as_text()`), read into instructions."""

import dataclasses
import functools
import re

from mixcon3d_jax.planning.shapes import Shape, Type, parse_type

_COMMENT = re.compile(r"/\*.*?\*/")
_HEAD = re.compile(r"^(?P<entry>ENTRY )?%?(?P<name>[\w.\-]+) .*\{$")
_NAME = re.compile(r"^\s*(?P<root>ROOT )?%?(?P<name>[\w.\-]+) = ")
_OPCODE = re.compile(r"^ *(?P<opcode>[\w\-]+)\(")
_CALLED = re.compile(
    r"(?P<role>calls|to_apply|body|condition|branch_computations|called_computations|"
    r"true_computation|false_computation)=\{?(?P<names>%?[\w.\-]+(?:, *%[\w.\-]+)*)"
)
_PARENTHESIS = re.compile(r"[()]")
_BRACKET_OR_COMMA = re.compile(r"[()\[\]{},]")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
      name: unique in its computation.
      opcode: as `dot` or `all-gather-start`.
      type: of its result.
      operands: names of other instructions; of a constant or a parameter what stands between the
        parentheses.
      attributes: the rest of the line.
    """

    name: str
    opcode: str
    type: Type
    operands: tuple[str, ...]
    attributes: str

    @functools.cached_property
    def called(self) -> dict[str, tuple[str, ...]]:
        """Names of the computations that it calls, by role (`body`, `calls` ...)."""
        return {
            match["role"]: tuple(name.strip(" %") for name in match["names"].split(","))
            for match in _CALLED.finditer(self.attributes)
        }

    def attribute(self, pattern: str) -> str | None:
        """The first group of a pattern in the attributes, or None."""
        match = re.search(pattern, self.attributes)
        return match[1] if match else None


@dataclasses.dataclass(frozen=True)
class Computation:
    """A function of the program: its instructions by name, in order, and which is its result."""

    name: str
    instructions: dict[str, Instruction]
    root: str

    @property
    def result(self) -> Instruction:
        """The instruction whose value it returns."""
        return self.instructions[self.root]

    @functools.cached_property
    def parameters(self) -> list[Instruction]:
        """Its parameters by number."""
        found = [i for i in self.instructions.values() if i.opcode == "parameter"]
        return sorted(found, key=lambda instruction: int(instruction.operands[0]))

    @functools.cached_property
    def users(self) -> dict[str, list[Instruction]]:
        """Which instructions take each one's value."""
        users: dict[str, list[Instruction]] = {name: [] for name in self.instructions}
        for instruction in self.instructions.values():
            for operand in dict.fromkeys(instruction.operands):
                if operand in users:
                    users[operand].append(instruction)
        return users

    def type_of(self, name: str) -> Type:
        """The type of an instruction's result."""
        return self.instructions[name].type

    def shape_of(self, name: str) -> Shape:
        """The shape of an instruction's result, which must not be a tuple."""
        shape = self.type_of(name)
        assert isinstance(shape, Shape), name
        return shape


@dataclasses.dataclass(frozen=True)
class Program:
    """All computations of a program; it starts at `entry`, on `partitions` chips of each slice."""

    computations: dict[str, Computation]
    entry: str
    partitions: int = 1


def parse_program(text: str) -> Program:
    """Reads what `compiled.as_text()` gives.

    Raises:
      ValueError: if it has no entry computation.
    """
    computations, entry, current = {}, "", None
    for line in _COMMENT.sub("", text).splitlines():
        if current is None:
            if head := _HEAD.match(line):
                current, instructions, root = head["name"], {}, ""
                entry = current if head["entry"] else entry
        elif line.startswith("}"):
            computations[current] = Computation(current, instructions, root)
            current = None
        elif found := _NAME.match(line):
            instruction = _instruction(found["name"], line[found.end() :])
            instructions[instruction.name] = instruction
            root = instruction.name if found["root"] else root
    if not entry:
        raise ValueError("the text has no ENTRY computation: it is no HLO program")
    partitions = re.search(r"^HloModule .*num_partitions=(\d+)", text, re.MULTILINE)
    return Program(computations, entry, int(partitions[1]) if partitions else 1)


def _instruction(name: str, text: str) -> Instruction:
    end = _balanced(text, 0) if text.startswith("(") else text.index(" ")
    match = _OPCODE.match(text[end:])
    if match is None:
        raise ValueError(f"no HLO instruction: {text[:200]!r}")
    opening = end + match.end() - 1
    closing = _balanced(text, opening)
    inside = text[opening + 1 : closing - 1]
    if match["opcode"] in ("constant", "parameter"):
        operands = (inside,)
    else:
        # An operand may be printed with its type in front.
        operands = tuple(part.split()[-1].lstrip("%") for part in _split(inside))
    return Instruction(
        name, match["opcode"], parse_type(text[:end]), operands, text[closing:].lstrip(", ")
    )


def _balanced(text: str, start: int) -> int:
    """The index behind the parenthesis that closes the one at `start`."""
    depth = 0
    for match in _PARENTHESIS.finditer(text, start):
        depth += 1 if match[0] == "(" else -1
        if depth == 0:
            return match.end()
    raise ValueError(f"parentheses are not closed: {text[:200]!r}")


def _split(text: str) -> list[str]:
    """Parts between the commas that stand in no brackets."""
    parts, depth, start = [], 0, 0
    for match in _BRACKET_OR_COMMA.finditer(text):
        if match[0] in "([{":
            depth += 1
        elif match[0] != ",":
            depth -= 1
        elif not depth:
            parts.append(text[start : match.start()])
            start = match.end()
    parts.append(text[start:])
    return [part for part in parts if part.strip()]
