"""Shapes as the compiler prints them: `bf16[8,129,512]{2,1,0:T(8,128)(2,1)S(1)}`."""

import dataclasses
import functools
import math
import re

# Bits of an element, for the types whose name doesn't end in them.
_BITS = {"pred": 8, "token": 0, "opaque": 0}

_LEAF = re.compile(r"(?P<type>\w+)\[(?P<dims>[^\]]*)\](?:\{(?P<layout>[^}]*)\})?")
_TILE = re.compile(r"\(([\d,]+)\)")


@dataclasses.dataclass(frozen=True)
class Shape:
    """An array's type, sizes and place.

    Attributes:
      type: of an element, as `f32`.
      dims: sizes; () is a scalar.
      minor_to_major: the order of the dimensions in memory, fastest first.
      tile: the last dimensions in memory are rounded up to multiples of these.
      space: memory that it lies in; 0 is HBM, 1 the on-chip vector memory.
    """

    type: str
    dims: tuple[int, ...]
    minor_to_major: tuple[int, ...] = ()
    tile: tuple[int, ...] = ()
    space: int = 0

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.dims)

    @property
    def in_hbm(self) -> bool:
        """Whether it lies in the chip's large memory."""
        return self.space == 0

    @property
    def data_bytes(self) -> int:
        """What its elements take, without padding."""
        return -(-self.size * bits(self.type) // 8)

    @property
    def bytes(self) -> int:
        """What it takes in memory, with the padding that its tiles demand."""
        order = self.minor_to_major or tuple(reversed(range(len(self.dims))))
        physical = [self.dims[axis] for axis in reversed(order)]
        for offset, multiple in enumerate(reversed(self.tile), start=1):
            if offset <= len(physical):
                physical[-offset] = -(-physical[-offset] // multiple) * multiple
        return -(-math.prod(physical) * bits(self.type) // 8)


# A tuple's entries are shapes or tuples.
Type = Shape | tuple["Type", ...]


def bits(element_type: str) -> int:
    """Bits of an element: 16 of `bf16`, 8 of `pred` and of `f8e4m3fn`."""
    if element_type in _BITS:
        return _BITS[element_type]
    return int(re.match(r"[a-z]+(\d+)", element_type)[1])


@functools.cache
def parse_type(text: str) -> Type:
    """Reads a shape, or a tuple of them.

    Raises:
      ValueError: if the text is none.
    """
    parsed, rest = _parse(text.strip())
    if rest.strip():
        raise ValueError(f"no HLO type: {text!r}")
    return parsed


def leaves(of: Type) -> list[Shape]:
    """All shapes in a type, in order."""
    return [of] if isinstance(of, Shape) else [leaf for entry in of for leaf in leaves(entry)]


def _parse(text: str) -> tuple[Type, str]:
    if not text.startswith("("):
        return _parse_leaf(text)
    entries, rest = [], text[1:].lstrip()
    while not rest.startswith(")"):
        entry, rest = _parse(rest)
        entries.append(entry)
        rest = rest.lstrip(", ")
        if not rest:
            raise ValueError(f"a tuple that doesn't end: {text!r}")
    return tuple(entries), rest[1:]


def _parse_leaf(text: str) -> tuple[Shape, str]:
    match = _LEAF.match(text)
    if match is None:
        raise ValueError(f"no HLO shape: {text!r}")
    # A bounded dimension is printed as `<=8`.
    dims = tuple(int(size.lstrip("<=")) for size in match["dims"].split(",") if size)
    order, _, marks = (match["layout"] or "").partition(":")
    tiles = re.match(r"T((?:\([\d,]+\))+)", marks)
    space = re.search(r"S\((\d+)\)", marks)
    first_tile = _TILE.search(tiles[1]) if tiles else None
    shape = Shape(
        type=match["type"],
        dims=dims,
        minor_to_major=tuple(int(axis) for axis in order.split(",") if axis),
        tile=tuple(int(size) for size in first_tile[1].split(",")) if first_tile else (),
        space=int(space[1]) if space else 0,
    )
    return shape, text[match.end() :]
