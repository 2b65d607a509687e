"""Bytes of collectives in the notations that compilers use for groups."""

import pytest

from mixcon3d_jax.planning.collectives import Collective, collective
from tests.planning.programs import entry, program

ALL = "replica_groups={{0,1,2,3,4,5,6,7}}"
BYTES = 16 * 8 * 4


def sent(instruction: str, slices: int = 1):
    computation = entry(f"""
        %a = f32[16,8]{{1,0}} parameter(0)
        %token = token[] after-all()
        %r = {instruction}
    """)
    return collective(computation.result, computation, partitions=8, slices=slices)


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        (f"f32[16,8]{{1,0}} all-reduce(%a), {ALL}", ("all-reduce", BYTES, 2 * BYTES * 7 // 8)),
        (f"f32[128,8]{{1,0}} all-gather(%a), {ALL}", ("all-gather", 8 * BYTES, 7 * BYTES)),
        (f"f32[2,8]{{1,0}} reduce-scatter(%a), {ALL}", ("reduce-scatter", BYTES, BYTES * 7 // 8)),
        (f"f32[16,8]{{1,0}} all-to-all(%a), {ALL}", ("all-to-all", BYTES, BYTES * 7 // 8)),
        (
            "f32[16,8]{1,0} collective-permute(%a), source_target_pairs={{0,1},{1,0}}",
            ("collective-permute", BYTES, BYTES),
        ),
        (
            "(f32[16,8]{1,0}, f32[32,8]{1,0}) all-gather-start(%a), replica_groups=[4,2]<=[8]",
            ("all-gather", 2 * BYTES, BYTES),
        ),
        ("f32[16,8]{1,0} add(%a, %a)", None),
        ("f32[16,8]{1,0} all-reduce-done(%a)", None),
    ],
)
def test_bytes_that_a_chip_sends(instruction, expected):
    assert sent(instruction) == (expected and Collective(*expected))


@pytest.mark.parametrize(
    ("groups", "members"),
    [
        ("replica_groups={}", 8),
        ("replica_groups={{0,4},{1,5},{2,6},{3,7}}", 2),
        ("replica_groups=[2,4]<=[8]", 4),
        ("replica_groups=[4,2]<=[2,4]T(1,0)", 2),
        ("replica_groups=mesh['x'=4,'y'=2] {'y'}", 2),
        ("replica_groups=mesh['x'=4,'y'=2] {'x','y'}", 8),
        ("replica_groups=mesh['x'=8] {'x':(2)4}", 4),
        ("replica_groups=mesh['a'=4,'b'=2], device_ids=([8]<=[2,4]T(1,0)) {'a'}", 4),
    ],
)
def test_groups_in_all_notations(groups, members):
    result = sent(f"f32[16,8]{{1,0}} all-reduce(%a), {groups}")
    assert result.sent == 2 * BYTES * (members - 1) // members


@pytest.mark.parametrize(
    ("transfer", "expected"),
    [
        ("ALL_REDUCE", ("all-reduce between slices", BYTES, 2 * BYTES * 3 // 4)),
        ("ALL_GATHER", ("all-gather between slices", 4 * BYTES, 3 * BYTES)),
        ("ONE_TO_ONE", ("collective-permute between slices", BYTES, BYTES)),
    ],
)
def test_what_is_handed_to_the_host_goes_to_other_slices(transfer, expected):
    instruction = (
        "(f32[16,8]{1,0}, u32[], token[]) send(%a, %token), is_host_transfer=true, "
        'frontend_attributes={_xla_host_transfer_handler_name="xla_megascale_runtime",'
        f'_xla_megascale_target="{{1,2}}x{{0:3}}",_xla_megascale_transfer_type="{transfer}"}}'
    )
    assert sent(instruction, slices=4) == Collective(*expected)
    assert sent("(f32[16,8]{1,0}, u32[], token[]) recv(%token)") is None


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
        if collective(instruction, computation, partitions=8, slices=1)
    ]
    assert counted == ["g.1"]
