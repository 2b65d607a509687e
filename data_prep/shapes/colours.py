"""Named colours, and how an object's parts get them, whatever its class."""

import dataclasses

import numpy as np

# sRGB, 0 to 255: far enough apart that a name stays true when shifted and shaded a little.
NAMED_COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (205, 35, 35),
    "orange": (240, 135, 25),
    "yellow": (245, 215, 50),
    "green": (50, 150, 55),
    "turquoise": (60, 205, 195),
    "blue": (40, 80, 205),
    "purple": (125, 50, 170),
    "pink": (245, 140, 185),
    "brown": (115, 70, 35),
    "black": (35, 35, 38),
    "grey": (130, 130, 132),
    "white": (240, 240, 238),
}
# How far a paint may lie from its name's entry: in lightness, and in each channel on top, less so
# that grey stays grey.
LIGHTNESS_JITTER, CHANNEL_JITTER = 8, 4
MAX_COLOURS = 4


@dataclasses.dataclass(frozen=True)
class Paint:
    """A colour with its name; `srgb` is near the name's entry in `NAMED_COLOURS`."""

    name: str
    srgb: tuple[int, int, int]


def draw_palette(rng: np.random.Generator) -> list[Paint]:
    """One to `MAX_COLOURS` paints of different names, each name equally likely."""
    number = rng.choice(np.arange(1, MAX_COLOURS + 1), p=[0.1, 0.4, 0.3, 0.2])
    names = rng.choice(list(NAMED_COLOURS), size=number, replace=False)
    paints = []
    for name in names:
        shift = rng.integers(-LIGHTNESS_JITTER, LIGHTNESS_JITTER + 1)
        shift = shift + rng.integers(-CHANNEL_JITTER, CHANNEL_JITTER + 1, 3)
        shifted = np.array(NAMED_COLOURS[name]) + shift
        paints.append(Paint(str(name), tuple(int(value) for value in shifted.clip(0, 255))))
    return paints


def paint_parts(rng: np.random.Generator, areas: dict[str, float]) -> dict[str, Paint]:
    """Gives each part one paint of a palette: the large parts different ones, the rest any."""
    palette = draw_palette(rng)
    ordered = sorted(areas, key=areas.get, reverse=True)
    paints = {
        part: palette[place] if place < len(palette) else palette[rng.integers(len(palette))]
        for place, part in enumerate(ordered)
    }
    return {part: paints[part] for part in areas}
