"""Bytes of collectives in the notations that compilers use for groups."""

import pytest

from mixcon3d_jax.planning.collectives import Collective, collective
from tests.planning.programs import entry, program

ONE_SLICE = (0,) * 8
TWO_SLICES = (0, 0, 0, 0, 1, 1, 1, 1)
ALL = "replica_groups={{0,1,2,3,4,5,6,7}}"


def sent(instruction: str, slice_of=ONE_SLICE):
    computation = entry(f"%a = f32[16,8]{{1,0}} parameter(0)\n%r = {instruction}")
    return collective(computation.result, computation, slice_of)


BYTES = 16 * 8 * 4


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        (f"f32[16,8]{{1,0}} all-reduce(%a), {ALL}", (BYTES, 2 * BYTES * 7 // 8)),
        (f"f32[128,8]{{1,0}} all-gather(%a), {ALL}", (8 * BYTES, BYTES * 7)),
        (f"f32[2,8]{{1,0}} reduce-scatter(%a), {ALL}", (BYTES, BYTES * 7 // 8)),
        (f"f32[16,8]{{1,0}} all-to-all(%a), {ALL}", (BYTES, BYTES * 7 // 8)),
        (
            "f32[16,8]{1,0} collective-permute(%a), source_target_pairs={{0,1},{1,0}}",
            (BYTES, BYTES),
        ),
        ("f32[16,8]{1,0} all-reduce(%a), replica_groups={}", (BYTES, 2 * BYTES * 7 // 8)),
        (
            "(f32[16,8]{1,0}, f32[32,8]{1,0}) all-gather-start(%a), replica_groups=[4,2]<=[8]",
            (2 * BYTES, BYTES),
        ),
        (
            "f32[16,8]{1,0} all-reduce(%a), replica_groups=mesh['x'=4,'y'=2] {'y'}",
            (BYTES, BYTES),
        ),
        ("f32[16,8]{1,0} add(%a, %a)", None),
        ("f32[16,8]{1,0} all-reduce-done(%a)", None),
    ],
)
def test_bytes_that_a_chip_sends(instruction, expected):
    kind = instruction.split("} ", 1)[-1].split("(")[0].removesuffix("-start")
    kind = "all-gather" if "all-gather" in instruction else kind
    assert sent(instruction) == (expected and Collective(kind, *expected, 0))


def test_a_sum_over_two_slices_is_reduced_within_each_first():
    result = sent(f"f32[16,8]{{1,0}} all-reduce(%a), {ALL}", TWO_SLICES)
    # Within: scatter and gather among 4.  Across: a quarter of the array, as among 2.
    assert result == Collective("all-reduce", BYTES, 2 * BYTES * 3 // 4, 2 * (BYTES // 4) // 2)


@pytest.mark.parametrize(
    ("groups", "across"),
    [
        ("replica_groups=[2,4]<=[8]", False),
        ("replica_groups=[4,2]<=[2,4]T(1,0)", True),
        ("replica_groups={{0,4},{1,5},{2,6},{3,7}}", True),
        ("replica_groups=mesh['slice'=2,'chip'=4] {'slice'}", True),
        ("replica_groups=mesh['slice'=2,'chip'=4] {'chip'}", False),
        ("replica_groups=mesh['a'=8] {'a':(4)2}", False),
        ("replica_groups=mesh['a'=8] {'a':(1)2}", True),
        ("replica_groups=mesh['a'=4,'b'=2], device_ids=([8]<=[2,4]T(1,0)) {'b'}", True),
    ],
)
def test_groups_within_a_slice_and_across(groups, across):
    result = sent(f"f32[16,8]{{1,0}} all-reduce(%a), {groups}", TWO_SLICES)
    assert (result.across > 0, result.within > 0) == (across, not across)


def test_a_ring_over_two_slices_crosses_between_them():
    pairs = ",".join(f"{{{i},{(i + 1) % 8}}}" for i in range(8))
    result = sent(
        f"f32[16,8]{{1,0}} collective-permute(%a), source_target_pairs={{{pairs}}}", TWO_SLICES
    )
    assert result == Collective("collective-permute", BYTES, BYTES, BYTES)


def test_a_collective_under_way_beside_other_work_is_counted_where_it_starts():
    made = program(
        "%a = f32[16,8]{1,0} parameter(0)\n%r = f32[16,8]{1,0} copy(%a)",
        f"""
%fused_computation.1 (a: f32[16,8]) -> f32[128,8] {{
  %a = f32[16,8]{{1,0}} parameter(0)
  %g.1 = f32[128,8]{{1,0}} all-gather(%a), {ALL}
  ROOT %c = (f32[16,8], f32[128,8]) custom-call(%g.1), custom_call_target="AsyncCollectiveStart"
}}
%async_collective_fusion.2 (a: f32[16,8]) -> f32[128,8] {{
  %a = f32[16,8]{{1,0}} parameter(0)
  %g.2 = f32[128,8]{{1,0}} all-gather(%a), {ALL}
  ROOT %c = (f32[16,8], f32[128,8]) tuple(%a, %g.2)
}}
%fused_computation.3 (a: f32[16,8]) -> f32[128,8] {{
  %a = f32[16,8]{{1,0}} parameter(0)
  %g.3 = f32[128,8]{{1,0}} all-gather(%a), {ALL}
  ROOT %c = f32[128,8] custom-call(%a, %g.3), custom_call_target="AsyncCollectiveDone"
}}
""",
    )
    counted = [
        instruction.name
        for computation in made.computations.values()
        for instruction in computation.instructions.values()
        if collective(instruction, computation, ONE_SLICE)
    ]
    assert counted == ["g.1"]
