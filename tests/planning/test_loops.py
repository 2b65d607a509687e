"""Trip counts, also where the compiler leaves no note of them."""

import pytest

from mixcon3d_jax.planning.loops import Scope, trip_count
from tests.planning.programs import program

# A counter, and two entries that no turn changes: the step and the limit.
STATE = "(s32[], s32[], s32[])"
BODY = f"""
%body (p: {STATE}) -> {STATE} {{
  %p = {STATE} parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %step = s32[] get-tuple-element(%p), index=1
  %limit = s32[] get-tuple-element(%p), index=2
  %next = s32[] add(%i, %step)
  ROOT %t = {STATE} tuple(%next, %step, %limit)
}}
"""
CONDITION = f"""
%condition (p: {STATE}) -> pred[] {{
  %p = {STATE} parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %limit = s32[] get-tuple-element(%p), index=2
  ROOT %c = pred[] compare(%i, %limit), direction=DIRECTION
}}
"""
LOOP = f"""
%first = s32[] constant(FIRST)
%step = s32[] constant(STEP)
%limit = s32[] LIMIT
%start = {STATE} tuple(%first, %step, %limit)
%loop = {STATE} while(%start), condition=%condition, body=%bodyNOTE
"""


def count(first="0", step="1", limit="constant(7)", direction="LT", note=""):
    text = LOOP.replace("FIRST", first).replace("STEP", step).replace("LIMIT", limit)
    made = program(text.replace("NOTE", note), BODY + CONDITION.replace("DIRECTION", direction))
    entry = made.computations[made.entry]
    return trip_count(made, entry.instructions["loop"], Scope(entry))


@pytest.mark.parametrize(
    ("arguments", "turns"),
    [
        ({}, 7),
        ({"limit": "constant(1000000)"}, 1_000_000),
        ({"step": "2"}, 4),
        ({"first": "3", "direction": "LE"}, 5),
        ({"first": "9", "step": "-1", "limit": "constant(0)", "direction": "GT"}, 9),
        ({"first": "7"}, 0),
        ({"direction": "NE", "limit": "constant(8)"}, 8),
    ],
)
def test_limits_and_steps_that_are_constants(arguments, turns):
    assert count(**arguments) == turns


def test_the_compilers_note_wins():
    note = ', backend_config={"known_trip_count":{"n":"12"},"known_init_step":{"init":"0"}}'
    assert count(note=note) == 12


@pytest.mark.parametrize("arguments", [{"limit": "parameter(0)"}, {"step": "0"}])
def test_a_loop_of_unknown_length_is_none(arguments):
    assert count(**arguments) is None


def test_a_limit_that_a_turn_changes_is_not_taken_for_constant():
    changing = BODY.replace("tuple(%next, %step, %limit)", "tuple(%next, %step, %next)")
    text = LOOP.replace("FIRST", "0").replace("STEP", "1").replace("LIMIT", "constant(7)")
    made = program(text.replace("NOTE", ""), changing + CONDITION.replace("DIRECTION", "LT"))
    entry = made.computations[made.entry]
    assert trip_count(made, entry.instructions["loop"], Scope(entry)) is None
