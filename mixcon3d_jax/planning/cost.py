"""What one run of a compiled program costs a chip: arithmetic, memory traffic, messages."""

import dataclasses

from mixcon3d_jax.planning.collectives import collective
from mixcon3d_jax.planning.hlo import Computation, Instruction, Program
from mixcon3d_jax.planning.loops import Scope, loop_scope, trip_count
from mixcon3d_jax.planning.operations import elementwise_operations, product
from mixcon3d_jax.planning.parts import part_of
from mixcon3d_jax.planning.traffic import hbm_bytes


@dataclasses.dataclass
class Products:
    """Products of one kind of factors.

    Attributes:
      flops: multiplications and additions.
      passes: how often the matrix units go over them.
    """

    flops: int
    passes: int


@dataclasses.dataclass
class Messages:
    """Collectives of one kind: how many, and their bytes (see `collectives.Collective`)."""

    count: int = 0
    payload: int = 0
    sent: int = 0


@dataclasses.dataclass
class Cost:
    """Sums over a program, loops counted as often as they run.

    Attributes:
      products: matrix products, by the kind of their factors.
      elementwise: operations outside the matrix units.
      hbm_bytes: moved between HBM and chip.
      part_bytes: the same by part of the step (`parts.part_of`); what the compiler fused across
        parts counts for the part of the result.
      messages: collectives by kind, those between slices apart.
      cycles: the compiler's own estimate, where it writes one on an instruction; 0 where not.
      unknown_loops: names of loops whose trip count the program doesn't say; counted once.
      custom_calls: calls of kernels whose arithmetic is not counted, by name.
    """

    products: dict[str, Products] = dataclasses.field(default_factory=dict)
    elementwise: int = 0
    hbm_bytes: int = 0
    part_bytes: dict[str, int] = dataclasses.field(default_factory=dict)
    messages: dict[str, Messages] = dataclasses.field(default_factory=dict)
    cycles: int = 0
    unknown_loops: list[str] = dataclasses.field(default_factory=list)
    custom_calls: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def flops(self) -> int:
        """Of all matrix products, each counted once, whatever its passes."""
        return sum(entry.flops for entry in self.products.values())

    @property
    def pass_flops(self) -> int:
        """FLOPs times passes: what the matrix units do, in bfloat16 products."""
        return sum(entry.flops * entry.passes for entry in self.products.values())


def program_cost(program: Program, slices: int = 1) -> Cost:
    """The cost of a compiled program for one chip.

    Args:
      program: as the compiler optimised it (`hlo.parse_program(compiled.as_text())`).
      slices: that run it together.
    """
    cost = Cost()
    walker = _Walker(program, slices, cost)
    walker.visit(Scope(program.computations[program.entry]), 1, fused=False)
    return cost


@dataclasses.dataclass
class _Walker:
    program: Program
    slices: int
    cost: Cost

    def visit(self, scope: Scope, times: int, *, fused: bool) -> None:
        """Adds a computation that runs `times` times; inside a fusion nothing moves from HBM."""
        for instruction in scope.computation.instructions.values():
            self._arithmetic(instruction, scope, times)
            if not fused:
                moved = hbm_bytes(instruction, scope.computation, self.program)
                self.cost.hbm_bytes += times * moved
                if moved:
                    part = part_of(instruction, scope.computation)
                    by_part = self.cost.part_bytes
                    by_part[part] = by_part.get(part, 0) + times * moved
                cycles = instruction.attribute(r'"estimated_cycles":"?(\d+)')
                self.cost.cycles += times * int(cycles or 0)
            self._messages(instruction, scope, times)
            self._inside(instruction, scope, times, fused)

    def _arithmetic(self, instruction: Instruction, scope: Scope, times: int) -> None:
        multiplied = product(instruction, scope.computation)
        if multiplied:
            entry = self.cost.products.setdefault(multiplied.kind, Products(0, multiplied.passes))
            entry.flops += times * multiplied.flops
        self.cost.elementwise += times * elementwise_operations(instruction, scope.computation)
        if instruction.opcode == "custom-call":
            target = instruction.attribute(r'custom_call_target="([^"]+)"') or "?"
            calls = self.cost.custom_calls
            calls[target] = calls.get(target, 0) + times

    def _messages(self, instruction: Instruction, scope: Scope, times: int) -> None:
        sent = collective(instruction, scope.computation, self.program.partitions, self.slices)
        if sent:
            entry = self.cost.messages.setdefault(sent.kind, Messages())
            entry.count += times
            entry.payload += times * sent.payload
            entry.sent += times * sent.sent

    def _inside(self, instruction: Instruction, scope: Scope, times: int, fused: bool) -> None:
        called = {
            role: [self.program.computations[name] for name in names]
            for role, names in instruction.called.items()
        }
        match instruction.opcode:
            case "while":
                turns = trip_count(self.program, instruction, scope)
                if turns is None:
                    self.cost.unknown_loops.append(instruction.name)
                    turns = 1
                body = loop_scope(called["body"][0], instruction, scope)
                self.visit(body, times * turns, fused=fused)
            case "fusion" | "async-start":
                self._call(called["calls"][0], instruction, scope, times, fused=True)
            case "call":
                self._call(called["to_apply"][0], instruction, scope, times, fused=fused)
            case "conditional":
                # No branch of this project's steps depends on data; were there one, all count.
                for branches in called.values():
                    for branch in branches:
                        self.visit(Scope(branch), times, fused=fused)

    def _call(
        self,
        computation: Computation,
        instruction: Instruction,
        scope: Scope,
        times: int,
        *,
        fused: bool,
    ) -> None:
        arguments = tuple((scope, name) for name in instruction.operands)
        self.visit(Scope(computation, arguments), times, fused=fused)
