"""Programs for the tests: hand-written instructions in a frame, and programs of this machine."""

import jax

from mixcon3d_jax.planning.hlo import Computation, Program, parse_program


def program(instructions: str, computations: str = "") -> Program:
    """A program whose entry has these instructions; the last one is its result."""
    lines = [f"  {line.strip()}" for line in instructions.strip().splitlines()]
    lines[-1] = f"  ROOT {lines[-1].strip()}"
    entry = "\n".join(lines)
    head = "ENTRY %main (a: f32[]) -> f32[] {"
    return parse_program(f"HloModule hand_made\n\n{computations}\n\n{head}\n{entry}\n}}\n")


def entry(instructions: str, computations: str = "") -> Computation:
    """The entry of such a program."""
    made = program(instructions, computations)
    return made.computations[made.entry]


def compiled(function, *arguments) -> Program:
    """A function as it is compiled for this machine."""
    return parse_program(jax.jit(function).lower(*arguments).compile().as_text())
