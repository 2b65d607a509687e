"""What a compiled step keeps in a chip's memory, and for what."""

import dataclasses
import re
from typing import Any

from mixcon3d_jax.planning.hlo import Program
from mixcon3d_jax.planning.shapes import leaves

# Arguments of a step by the beginning of their path (`jax.jit` names them in the program).
_GROUPS = (
    (r"state\.params\b", "parameters"),
    (r"state\.ema_params\b", "average"),
    (r"state\.opt_state\b", "moments"),
    (r"state\.(ema_)?stats\b", "statistics"),
    (r"clip\b", "clip"),
    (r"batch\b", "batch"),
)


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes on one chip, as laid out there: padding counts.

    Attributes:
      parameters: the weights.
      average: their moving average (EMA).
      moments: the optimiser's state.
      statistics: running means and variances, and their average.
      clip: weights of the frozen CLIP, where it embeds in the step.
      batch: the step's rows.
      next_batch: of the step after, which is brought in while this one runs.
      other: arguments that are none of these, and results that take no argument's place.
      temporaries: what lives during the step only.
      code: the program.
    """

    parameters: int = 0
    average: int = 0
    moments: int = 0
    statistics: int = 0
    clip: int = 0
    batch: int = 0
    next_batch: int = 0
    other: int = 0
    temporaries: int = 0
    code: int = 0

    @property
    def peak(self) -> int:
        """All of it: the temporaries at their own peak, and the rest stays for the whole step."""
        return sum(dataclasses.astuple(self))


def step_memory(program: Program, analysis: Any) -> Memory:
    """The memory of a compiled step.

    Args:
      program: its text, parsed: says what each argument takes.
      analysis: of `compiled.memory_analysis()`.
    """
    groups: dict[str, int] = {}
    for parameter in program.computations[program.entry].parameters:
        path = parameter.attribute(r'op_name="([^"]*)"') or ""
        group = next((name for start, name in _GROUPS if re.match(start, path)), "other")
        size = sum(leaf.bytes for leaf in leaves(parameter.type))
        groups[group] = groups.get(group, 0) + size
    # Small arrays are rounded up further than their tiles say.
    rounding = analysis.argument_size_in_bytes - sum(groups.values())
    results = analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    groups["other"] = groups.get("other", 0) + rounding + results
    return Memory(
        **groups,
        next_batch=groups.get("batch", 0),
        temporaries=analysis.temp_size_in_bytes,
        code=analysis.generated_code_size_in_bytes,
    )
