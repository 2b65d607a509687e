"""Parts of a step: by the instruction's own name, or by the copies' neighbors."""

import pytest

from mixcon3d_jax.planning.parts import OTHER, part_of
from tests.planning.programs import entry

# Two arrays in HBM; `S(1)` is memory on the chip.
HBM, CHIP = "f32[256]{0:T(256)}", "f32[256]{0:T(256)S(1)}"
COPIES = f"""
%a = {HBM} parameter(0), metadata={{op_name="state.params"}}
%b = {HBM} parameter(1)
%ahead = ({CHIP}, {HBM}, u32[]) copy-start(%a)
%arrived = {CHIP} copy-done(%ahead)
%same = {CHIP} bitcast(%arrived)
%made = {CHIP} negate(%same), metadata={{op_name="jit(step)/embed/transpose(blocks)/neg"}}
%away = ({HBM}, {CHIP}, u32[]) copy-start(%made)
%stored = {HBM} copy-done(%away)
%sum = {HBM} add(%stored, %b), metadata={{op_name="jit(step)/ema/add"}}
%unused = {HBM} copy(%b), metadata={{op_name="jit(step)/copy"}}
%last = {HBM} copy(%a)
"""


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("made", "blocks"),  # the innermost
        ("ahead", "blocks"),  # which uses it, by way of instructions without a name
        ("arrived", "blocks"),
        ("away", "blocks"),  # which made it, not `ema`, which uses it
        ("sum", "ema"),
        ("unused", OTHER),  # it has a name, of no part
        ("last", OTHER),  # nothing made it and nothing uses it
    ],
)
def test_part_of_an_instruction(name, part):
    computation = entry(COPIES)
    assert part_of(computation.instructions[name], computation) == part
