"""TPU slices by the names that people use: `v5e:16x16`, `v4-32`, `4*v5litepod-256`."""

import dataclasses
import difflib
import math
import re

from mixcon3d_jax.errors import InputError
from mixcon3d_jax.planning.chips import CHIPS, Chip


class TopologyError(InputError):
    """A topology's name is none that is known."""


# Names of accelerator types: what stands before the hyphen, and the chip.
_TYPES = {"v4": "v4", "v5litepod": "v5e", "v5e": "v5e", "v5p": "v5p", "v6e": "v6e"}

# The usual shapes of a slice, by chips, as the documentation lists them for an accelerator type.
_SHAPES = {
    2: ((2, 2), (2, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16)),
    3: (
        (2, 2, 1),
        (2, 2, 2),
        (2, 2, 4),
        (2, 4, 4),
        (4, 4, 4),
        (4, 4, 8),
        (4, 8, 8),
        (8, 8, 8),
        (8, 8, 16),
        (8, 16, 16),
        (16, 16, 16),
    ),
}
# A single chip and one host of eight have no grid of hosts of four.
_SMALLEST = {2: (1, 1)}


@dataclasses.dataclass(frozen=True)
class Topology:
    """Slices of TPU chips.

    Attributes:
      kind: of the chips, a key of `CHIPS`.
      shape: of a slice's grid.
      slices: how many, connected by the data-centre network.
    """

    kind: str
    shape: tuple[int, ...]
    slices: int = 1

    @property
    def chip(self) -> Chip:
        """What each chip has."""
        return CHIPS[self.kind]

    @property
    def chips(self) -> int:
        """Of all slices."""
        return math.prod(self.shape) * self.slices

    @property
    def name(self) -> str:
        """As `2*v5e:16x16`."""
        grid = f"{self.kind}:{'x'.join(map(str, self.shape))}"
        return grid if self.slices == 1 else f"{self.slices}*{grid}"

    @property
    def accelerator_type(self) -> str:
        """Of one slice, as `gcloud` takes it."""
        prefix = "v5litepod" if self.kind == "v5e" else self.kind
        return f"{prefix}-{math.prod(self.shape) * self.chip.cores}"


def parse_topology(name: str) -> Topology:
    """The slices that a name means.

    Args:
      name: a grid as `v5e:16x16`, or an accelerator type as `v5litepod-256`; the number of `v4-32`
        and `v5p-32` counts cores, two a chip.  `4*` in front: four such slices.

    Raises:
      TopologyError: if there is none; it names those that are meant perhaps.
    """
    match = re.fullmatch(r"(?:(\d+)\*)?(\w+)(?::([\dx]+)|-(\d+))", name.strip())
    if match is None:
        raise _unknown(name, "it is neither a grid nor an accelerator type")
    slices, kind, grid, number = match.groups()
    slices = int(slices) if slices else 1
    if slices < 1:
        raise _unknown(name, "it has no slice")
    kind = _TYPES.get(kind) if number else kind
    if kind not in CHIPS:
        raise _unknown(name, f"chips are {', '.join(CHIPS)}")
    shape = _grid(name, kind, grid) if grid else _by_number(name, kind, int(number))
    return Topology(kind, shape, slices)


def known_names() -> list[str]:
    """Grids and accelerator types of all usual sizes of one slice."""
    usual = [
        Topology(kind, shape)
        for kind, chip in CHIPS.items()
        for shape in ((_SMALLEST[2],) if chip.dimensions == 2 else ()) + _SHAPES[chip.dimensions]
        if math.prod(shape) <= chip.largest
    ]
    return [name for topology in usual for name in (topology.name, topology.accelerator_type)]


def _grid(name: str, kind: str, grid: str) -> tuple[int, ...]:
    chip = CHIPS[kind]
    try:
        shape = tuple(int(size) for size in grid.split("x"))
    except ValueError:
        raise _unknown(name, "a grid is written as 4x4") from None
    if len(shape) != chip.dimensions:
        raise _unknown(name, f"a slice of {kind} has {chip.dimensions} dimensions")
    whole_hosts = shape == (1, 1) or all(size % 2 == 0 for size in shape[:2])
    if min(shape) < 1 or math.prod(shape) > chip.largest or not whole_hosts:
        raise _unknown(
            name, f"hosts have 2x2 chips, and a slice of {kind} at most {chip.largest} chips"
        )
    return shape


def _by_number(name: str, kind: str, number: int) -> tuple[int, ...]:
    chip = CHIPS[kind]
    shapes = {math.prod(shape) * chip.cores: shape for shape in _SHAPES[chip.dimensions]}
    if chip.dimensions in _SMALLEST:
        shapes[1] = _SMALLEST[chip.dimensions]
    if number not in shapes or number // chip.cores > chip.largest:
        raise _unknown(name, "there is no usual slice of that size; give its grid")
    return shapes[number]


def _unknown(name: str, reason: str) -> TopologyError:
    near = difflib.get_close_matches(name.split("*")[-1], known_names(), n=3, cutoff=0.5)
    known = "; ".join(
        f"{kind}: {', '.join(n for n in known_names() if n.startswith(f'{kind}:'))}"
        for kind in CHIPS
    )
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return TopologyError(
        f"--topology={name} is not known: {reason}. {hint}Known are {known}, accelerator types as "
        "v4-32, v5p-32, v5litepod-256, v6e-256, and several slices of one as 4*v5e:16x16"
    )
