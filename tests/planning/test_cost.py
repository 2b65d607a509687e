"""Costs of programs that this machine's compiler made, whose figures are known."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from mixcon3d_jax.planning.cost import Messages, program_cost
from mixcon3d_jax.sharding import MESH_AXES, make_mesh
from tests.planning.programs import compiled, program

SIZE = 64
SQUARE = jax.ShapeDtypeStruct((SIZE, SIZE), jnp.float32)
PRODUCT = 2 * SIZE**3


def seven(x):
    return jax.lax.scan(lambda carry, _: (jnp.sin(carry @ x), None), x, length=7)[0]


def five_times_seven(x):
    return jax.lax.scan(lambda carry, _: (seven(carry), None), x, length=5)[0]


def recomputed(x):
    """A product forward, again in the backward pass, and two of gradients; the last one's value
    is not needed, and not computed."""
    block = jax.checkpoint(lambda carry: jnp.sin(carry @ x) @ x)
    return jax.grad(lambda y: block(y).sum())(x)


@pytest.mark.parametrize(
    ("function", "products"), [(seven, 7), (five_times_seven, 35), (recomputed, 3)]
)
def test_products_are_counted_as_often_as_they_run(function, products):
    cost = program_cost(compiled(function, SQUARE))
    assert cost.flops == products * PRODUCT
    assert cost.unknown_loops == []


def test_a_loop_of_unknown_length_is_named_and_counted_once():
    def until_large(x):
        return jax.lax.while_loop(lambda c: jnp.sum(c) < 1e9, lambda c: c @ c, x)

    cost = program_cost(compiled(until_large, SQUARE))
    assert cost.flops == PRODUCT
    assert len(cost.unknown_loops) == 1


def test_a_scan_over_rows_reads_each_row_once():
    rows = jax.ShapeDtypeStruct((4096, 256), jnp.float32)

    def total(rows):
        return jax.lax.scan(lambda c, row: (jnp.sin(c) + row, None), rows[0], rows)[0]

    cost = program_cost(compiled(total, rows))
    # A turn reads its row and the carry, and writes the carry; copies of the carry may come on top.
    row = 256 * 4
    assert 3 * 4096 * row <= cost.hbm_bytes <= 6 * 4096 * row


def test_bytes_are_told_by_the_innermost_part_they_belong_to():
    def step(x):
        with jax.named_scope("augmentation"):
            x = jnp.sort(x)
            with jax.named_scope("blocks"):
                x = jax.lax.scan(lambda carry, _: (carry @ carry, None), x, length=3)[0]
        return jnp.cumsum(x)

    cost = program_cost(compiled(step, SQUARE))
    assert sum(cost.part_bytes.values()) == cost.hbm_bytes
    assert cost.part_bytes.keys() == {"augmentation", "blocks", "other"}
    size = 4 * SIZE**2
    # A turn reads the carry as both factors, and writes it; copies of the carry may come on top.
    assert 3 * 3 * size <= cost.part_bytes["blocks"] <= 3 * 5 * size


def test_messages_of_eight_devices():
    mesh = make_mesh(1, 4, 2)
    rows = jax.ShapeDtypeStruct((64, 16), jnp.float32, sharding=NamedSharding(mesh, P(MESH_AXES)))

    def talk(x):
        gathered = jax.lax.all_gather(x, MESH_AXES, tiled=True)
        scattered = jax.lax.psum_scatter(gathered, MESH_AXES, tiled=True)

        def send_on(carry, _):
            ring = [(i, (i + 1) % 8) for i in range(8)]
            return jax.lax.ppermute(carry, MESH_AXES, ring), None

        around = jax.lax.scan(send_on, x, length=8)[0]
        swapped = jax.lax.all_to_all(x, "data", 0, 0, tiled=True)
        total = jax.lax.psum(2 * x, "fsdp")
        return sum(part.sum() for part in (gathered, scattered, around, swapped, total))[None]

    talking = jax.shard_map(
        talk, mesh=mesh, in_specs=P(MESH_AXES), out_specs=P(MESH_AXES), check_vma=False
    )
    cost = program_cost(compiled(talking, rows))
    local = 64 // 8 * 16 * 4
    assert cost.messages == {
        "all-gather": Messages(1, 8 * local, 7 * local),
        "reduce-scatter": Messages(1, 8 * local, 7 * local),
        "collective-permute": Messages(8, 8 * local, 8 * local),
        "all-to-all": Messages(1, local, local * 3 // 4),
        "all-reduce": Messages(1, local, local),
    }


def test_cycles_that_the_compiler_notes_are_summed_over_turns():
    """As the TPU compiler writes a loop: no note of its length, cycles on its instructions."""
    cost = program_cost(
        program(
            """
            %zero = s32[] constant(0)
            %x = f32[8,128]{1,0:T(8,128)} parameter(0)
            %start = (s32[], f32[8,128]) tuple(%zero, %x)
            %loop = (s32[], f32[8,128]) while(%start), condition=%condition, body=%body
            """,
            """
%condition (p: (s32[], f32[8,128])) -> pred[] {
  %limit = s32[]{:T(128)} constant(128)
  %p = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%p), index=0
  ROOT %lt = pred[]{:T(512)} compare(%i, %limit), direction=LT
}
%body (p: (s32[], f32[8,128])) -> (s32[], f32[8,128]) {
  %one = s32[]{:T(128)} constant(1)
  %p = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%p), index=0
  %copy = s32[]{:T(128)S(6)} copy(%i)
  %next = s32[]{:T(128)} add(%copy, %one)
  %x = f32[8,128]{1,0:T(8,128)} get-tuple-element(%p), index=1
  %y = f32[8,128]{1,0:T(8,128)} sine(%x), backend_config={"window_config":{"estimated_cycles":"90"}}
  ROOT %t = (s32[]{:T(128)}, f32[8,128]{1,0:T(8,128)}) tuple(%next, %y)
}
""",
        )
    )
    assert cost.cycles == 128 * 90
    assert cost.elementwise == 128 * (8 * 128 + 1)
