import pytest

from mixcon3d_jax.planning.shapes import Shape, leaves, parse_type


def test_a_tiled_shape_is_padded_in_the_order_in_memory():
    # The last axis in memory is axis 1: 3 becomes 128 lanes, 10000 is a multiple of 8.
    narrow = parse_type("f32[8,10000,3]{2,1,0:T(8,128)S(1)}")
    assert narrow.bytes == 8 * 10_000 * 128 * 4
    assert not narrow.in_hbm
    wide = parse_type("f32[8,10000,3]{1,2,0:T(4,128)}")
    assert wide.bytes == 8 * 4 * 10_112 * 4
    assert wide.in_hbm
    assert wide.data_bytes == 8 * 10_000 * 3 * 4


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("f32[]", 4),
        ("pred[7]", 7),
        ("bf16[8,128]{1,0:T(8,128)(2,1)}", 2 * 8 * 128),
        ("s32[5]{0:T(128)}", 4 * 128),
        ("s4[3]", 2),
        ("f8e4m3fn[4,4]{1,0}", 16),
        ("u16[<=8,3]", 48),
    ],
)
def test_bytes_of_other_types(text, size):
    assert parse_type(text).bytes == size


def test_tuples_nest():
    parsed = parse_type("((f32[2]{0}, s32[]), u32[]{:S(2)})")
    assert parsed == (
        (Shape("f32", (2,), (0,)), Shape("s32", ())),
        Shape("u32", (), space=2),
    )
    assert [leaf.type for leaf in leaves(parsed)] == ["f32", "s32", "u32"]


@pytest.mark.parametrize("text", ["", "(f32[2]", "f32", "f32[2] x"])
def test_what_is_no_type_is_refused(text):
    with pytest.raises(ValueError, match=r"HLO|tuple"):
        parse_type(text)
