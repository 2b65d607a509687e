"""Arithmetic of single instructions: products of the matrix units, and everything else."""

import dataclasses
import functools
import math
import re

from mixcon3d_jax.planning.hlo import Computation, Instruction
from mixcon3d_jax.planning.shapes import Shape, bits, leaves

# One operation for each element of the result.
_ELEMENTWISE = frozenset(
    [
        "abs",
        "add",
        "and",
        "atan2",
        "cbrt",
        "ceil",
        "clamp",
        "compare",
        "cosine",
        "divide",
        "erf",
        "exponential",
        "exponential-minus-one",
        "floor",
        "is-finite",
        "log",
        "log-plus-one",
        "logistic",
        "maximum",
        "minimum",
        "multiply",
        "negate",
        "not",
        "or",
        "popcnt",
        "power",
        "remainder",
        "round-nearest-afz",
        "round-nearest-even",
        "rsqrt",
        "select",
        "shift-left",
        "shift-right-arithmetic",
        "shift-right-logical",
        "sign",
        "sine",
        "sqrt",
        "subtract",
        "tan",
        "tanh",
        "xor",
    ]
)


@dataclasses.dataclass(frozen=True)
class Product:
    """A `dot` or `convolution`.

    Attributes:
      flops: multiplications and additions, counted as two.
      kind: of the factors, as `bfloat16` or `float32 (highest)`.
      passes: how often the matrix units, which multiply bfloat16 numbers, go over it.  A float32
        is the sum of three bfloat16 numbers; `highest` takes 6 of the 9 products, `high` 3.
    """

    flops: int
    kind: str
    passes: int


def product(instruction: Instruction, computation: Computation) -> Product | None:
    """What an instruction multiplies, or None if it is no `dot` and no `convolution`."""
    if instruction.opcode == "dot":
        flops = _dot_flops(instruction, computation)
    elif instruction.opcode == "convolution":
        flops = _convolution_flops(instruction, computation)
    else:
        return None
    factors = [computation.shape_of(name).type for name in instruction.operands[:2]]
    kind, passes = _kind(factors, instruction)
    return Product(flops, kind, passes)


def elementwise_operations(instruction: Instruction, computation: Computation) -> int:
    """Operations outside the matrix units: one a result, of a reduction one an input."""
    if instruction.opcode in _ELEMENTWISE:
        return sum(leaf.size for leaf in leaves(instruction.type))
    if instruction.opcode == "reduce":
        return leaves(computation.type_of(instruction.operands[0]))[0].size
    if instruction.opcode == "reduce-window":
        window = instruction.attribute(r"window=\{size=([\dx]+)") or "1"
        taken = math.prod(int(size) for size in window.split("x"))
        return leaves(instruction.type)[0].size * taken
    return 0


def _kind(factors: list[str], instruction: Instruction) -> tuple[str, int]:
    wide = [kind for kind in factors if bits(kind) >= 32 and kind[0] == "f"]
    if not wide:
        return {"bf16": "bfloat16", "f16": "float16"}.get(factors[0], factors[0]), 1
    asked = instruction.attribute(r"operand_precision=\{(\w+)") or "default"
    # One factor that is bfloat16 already halves the work.
    passes = {"highest": 6, "high": 3}.get(asked, 1)
    passes = passes if len(wide) == 2 else -(-passes // 2)
    return f"float32 ({asked})", passes


def _dot_flops(instruction: Instruction, computation: Computation) -> int:
    left = computation.shape_of(instruction.operands[0])
    contracted = instruction.attribute(r"lhs_contracting_dims=\{([\d,]*)\}") or ""
    inner = math.prod(left.dims[int(axis)] for axis in contracted.split(",") if axis)
    return 2 * leaves(instruction.type)[0].size * inner


def _convolution_flops(instruction: Instruction, computation: Computation) -> int:
    """Two for each product of an input and a kernel entry, without those that padding makes zero.

    The TPU compiler writes a product with batch dimensions as a convolution whose window moves over
    zeros put between the inputs: only a share of the window's places counts.
    """
    inputs, kernel = (computation.shape_of(name) for name in instruction.operands[:2])
    output = leaves(instruction.type)[0]
    labels = instruction.attribute(r"dim_labels=(\S+?)(?:,|$)")
    input_labels, rest = labels.split("_")
    kernel_labels, output_labels = rest.split("->")
    groups = int(instruction.attribute(r"batch_group_count=(\d+)") or 1)
    pairs = 1
    for number, window in enumerate(_windows(instruction, len(kernel.dims) - 2)):
        label = str(number)
        pairs *= _pairs(
            _size(inputs, input_labels, label),
            _size(kernel, kernel_labels, label),
            _size(output, output_labels, label),
            window,
        )
    inner = _size(kernel, kernel_labels, "i")
    outer = _size(output, output_labels, "b") * _size(output, output_labels, "f")
    return 2 * pairs * inner * outer // groups


def _size(shape: Shape, labels: str, label: str) -> int:
    return shape.dims[labels.index(label)]


@dataclasses.dataclass(frozen=True)
class _Window:
    """One dimension of a convolution's window."""

    stride: int
    low: int
    input_dilation: int
    kernel_dilation: int


def _windows(instruction: Instruction, count: int) -> list[_Window]:
    text = instruction.attribute(r"window=\{([^}]*)\}") or ""
    fields = dict(re.findall(r"(\w+)=(\S+)", text))

    def sizes(name: str) -> list[int]:
        return [int(size) for size in fields[name].split("x")] if name in fields else [1] * count

    padding = fields["pad"].split("x") if "pad" in fields else ["0_0"] * count
    lows = [int(pair.split("_")[0]) for pair in padding]
    strides, inputs, kernels = (sizes(name) for name in ("stride", "lhs_dilate", "rhs_dilate"))
    return [_Window(*entry) for entry in zip(strides, lows, inputs, kernels, strict=True)]


@functools.cache
def _pairs(inputs: int, kernel: int, outputs: int, window: _Window) -> int:
    """Pairs of an output and a kernel place, in one dimension, that meet an input."""
    last = (inputs - 1) * window.input_dilation
    count = 0
    for place in range(kernel):
        for output in range(outputs):
            at = output * window.stride - window.low + place * window.kernel_dilation
            count += 0 <= at <= last and at % window.input_dilation == 0
    return count
