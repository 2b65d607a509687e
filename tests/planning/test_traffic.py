"""Bytes to and from HBM of hand-written instructions."""

import pytest

from mixcon3d_jax.planning.traffic import hbm_bytes
from tests.planning.programs import program

ROW = 8 * 128 * 4
ALL = 16 * ROW


def moved(instructions: str, computations: str = "") -> int:
    made = program(instructions, computations)
    entry = made.computations[made.entry]
    return hbm_bytes(entry.result, entry, made)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ("f32[16,8,128]{2,1,0:T(8,128)} add(%a, %a)", 3 * ALL),
        ("f32[16,8,128]{2,1,0:T(8,128)} bitcast(%a)", 0),
        ("f32[16,8,128]{2,1,0:T(8,128)S(1)} copy(%a)", ALL),
        ("f32[1,8,128]{2,1,0:T(8,128)} slice(%a), slice={[0:1]}", 2 * ROW),
        ("f32[16,8,128]{2,1,0:T(8,128)} dynamic-update-slice(%a, %row, %i)", 2 * ROW),
        # To the chip: read once from HBM; within it: not at all.
        ("(f32[16,8,128]{2,1,0:T(8,128)S(1)}, f32[16,8,128]{2,1,0:T(8,128)}, u32[]{:S(2)}) "
         "copy-start(%a)", ALL),
        ("f32[16,8,128]{2,1,0:T(8,128)S(1)} copy-done(%a)", 0),
        ("((f32[16,8,128]{2,1,0:T(8,128)}), f32[1,8,128]{2,1,0:T(8,128)S(1)}, s32[]{:S(2)}) "
         "slice-start(%a), slice={[0:1], [0:8], [0:128]}", ROW),
    ],
)  # fmt: skip
def test_single_instructions(result, expected):
    assert (
        moved(f"""
        %a = f32[16,8,128]{{2,1,0:T(8,128)}} parameter(0)
        %row = f32[1,8,128]{{2,1,0:T(8,128)}} parameter(1)
        %i = s32[] parameter(2)
        %r = {result}
    """)
        == expected
    )


FUSION = """
    %a = f32[16,8,128]{2,1,0:T(8,128)} parameter(0)
    %row = f32[1,8,128]{2,1,0:T(8,128)} parameter(1)
    %i = s32[] parameter(2)
    %r = RESULT fusion(%a, %row, %i), kind=kLoop, calls=%inner
"""
INNER = """
%inner (a: f32[16,8,128], row: f32[1,8,128], i: s32[]) -> f32[] {
  %a = f32[16,8,128]{2,1,0} parameter(0)
  %row = f32[1,8,128]{2,1,0} parameter(1)
  %i = s32[] parameter(2)
  INSTRUCTIONS
}
"""


@pytest.mark.parametrize(
    ("result", "instructions", "expected"),
    [
        # Of the large operand a row is read: a turn of a scan takes its slice.
        (
            "f32[1,8,128]{2,1,0:T(8,128)}",
            "%s = f32[1,8,128]{2,1,0} dynamic-slice(%a, %i)\n"
            "ROOT %x = f32[1,8,128]{2,1,0} add(%s, %row)",
            3 * ROW,
        ),
        # A row is written in place: a turn of a scan leaves its result.
        (
            "f32[16,8,128]{2,1,0:T(8,128)}",
            "%n = f32[1,8,128]{2,1,0} negate(%row)\n"
            "ROOT %x = f32[16,8,128]{2,1,0} dynamic-update-slice(%a, %n, %i)",
            2 * ROW,
        ),
        (
            "f32[16,8,128]{2,1,0:T(8,128)}",
            "%b = f32[16,8,128]{2,1,0} broadcast(%row)\nROOT %x = f32[16,8,128]{2,1,0} add(%a, %b)",
            2 * ALL + ROW,
        ),
        # What is passed on isn't moved.
        (
            "(f32[16,8,128]{2,1,0:T(8,128)}, f32[1,8,128]{2,1,0:T(8,128)})",
            "%n = f32[1,8,128]{2,1,0} negate(%row)\n"
            "ROOT %x = (f32[16,8,128], f32[1,8,128]) tuple(%a, %n)",
            2 * ROW,
        ),
    ],
)
def test_fusions(result, instructions, expected):
    inner = INNER.replace("INSTRUCTIONS", instructions)
    index = 4 if "%i)" in instructions else 0
    assert moved(FUSION.replace("RESULT", result), inner) == expected + index
