"""FLOPs of products, worked out by hand."""

import pytest

from mixcon3d_jax.planning.operations import Product, elementwise_operations, product
from tests.planning.programs import entry


def of(text: str):
    computation = entry(text)
    return computation.result, computation


def test_a_product_with_batch_dimensions():
    assert product(
        *of("""
        %a = f32[3,8,16]{2,1,0} parameter(0)
        %b = f32[3,16,5]{2,1,0} parameter(1)
        %d = f32[3,8,5]{2,1,0} dot(%a, %b), lhs_batch_dims={0}, rhs_batch_dims={0}, \
lhs_contracting_dims={2}, rhs_contracting_dims={1}, operand_precision={highest,highest}
        """)
    ) == Product(2 * 3 * 8 * 5 * 16, "float32 (highest)", 6)


def test_attention_as_the_tpu_compiler_writes_it():
    """Logits of 8 clouds and 8 heads: zeros between the inputs make batches of the window."""
    result = product(
        *of("""
        %q = bf16[8,8,129,64]{3,2,1,0:T(8,128)(2,1)} parameter(0)
        %k = bf16[8,129,8,64]{3,2,1,0:T(8,128)(2,1)} parameter(1)
        %c = f32[8,8,129,129]{2,3,1,0:T(8,128)} convolution(%q, %k), \
window={size=8x8 stride=7x7 lhs_dilate=8x8}, dim_labels=01bf_0o1i->01bf
        """)
    )
    assert result == Product(2 * 8 * 8 * 129 * 129 * 64, "bfloat16", 1)


def test_padding_of_a_convolution_is_not_counted():
    # 3 kernel places over 5 inputs, padded by 1: 3 * 5 - 2 pairs.
    result = product(
        *of("""
        %x = f32[2,5,4]{2,1,0} parameter(0)
        %k = f32[3,4,6]{2,1,0} parameter(1)
        %c = f32[2,5,6]{2,1,0} convolution(%x, %k), window={size=3 pad=1_1}, \
dim_labels=b0f_0io->b0f
        """)
    )
    assert result.flops == 2 * 2 * (3 * 5 - 2) * 4 * 6


@pytest.mark.parametrize(
    ("left", "right", "precision", "expected"),
    [
        ("bf16", "bf16", "", ("bfloat16", 1)),
        ("f32", "f32", "", ("float32 (default)", 1)),
        ("f32", "f32", ", operand_precision={high,high}", ("float32 (high)", 3)),
        ("f32", "bf16", ", operand_precision={highest,highest}", ("float32 (highest)", 3)),
        ("s8", "s8", "", ("s8", 1)),
    ],
)
def test_passes_follow_from_the_factors_and_the_precision(left, right, precision, expected):
    result = product(
        *of(f"""
        %a = {left}[4,4]{{1,0}} parameter(0)
        %b = {right}[4,4]{{1,0}} parameter(1)
        %c = f32[4,4]{{1,0}} convolution(%a, %b), window={{}}, dim_labels=bf_io->bf{precision}
        """)
    )
    assert (result.kind, result.passes) == expected
    assert result.flops == 2 * 4**3


@pytest.mark.parametrize(
    ("instruction", "operations"),
    [
        ("f32[6,4]{1,0} add(%a, %a)", 24),
        ("f32[6]{0} reduce(%a, %zero), dimensions={1}, to_apply=%sum", 24),
        ("f32[6,4]{1,0} reduce-window(%a, %zero), window={size=1x4 pad=0_0x3_0}, to_apply=%s", 96),
        ("f32[6,4]{1,0} copy(%a)", 0),
    ],
)
def test_operations_outside_the_matrix_units(instruction, operations):
    computation = entry(f"""
        %a = f32[6,4]{{1,0}} parameter(0)
        %zero = f32[] constant(0)
        %r = {instruction}
    """)
    assert product(computation.result, computation) is None
    assert elementwise_operations(computation.result, computation) == operations
