"""What the shape classes share: the shape under construction, and parts that many kinds have."""

import dataclasses

import numpy as np

from data_prep.shapes.surfaces import Surface, box, cylinder, lathe, rod, taper, tube

NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclasses.dataclass
class Shape:
    """An object's named parts, and what a caption may truly say about its form.

    Attributes:
      parts: part name ("seat", "legs": plural if it ends in "s") -> its surfaces.  A part has one
        colour.
      features: phrases that follow "with": "four legs", "a high back".
    """

    parts: dict[str, list[Surface]] = dataclasses.field(default_factory=dict)
    features: list[str] = dataclasses.field(default_factory=list)

    def add(self, part: str, *surfaces: Surface) -> None:
        """Adds surfaces to a part."""
        self.parts.setdefault(part, []).extend(surfaces)

    def say(self, *features: str) -> None:
        """Records features for the captions."""
        self.features.extend(features)

    def turn(self, axis: str, degrees: float) -> None:
        """Turns the whole shape about an axis through the origin."""
        for surfaces in self.parts.values():
            surfaces[:] = [surface.turn(axis, degrees) for surface in surfaces]


def chance(rng: np.random.Generator, probability: float) -> bool:
    """True with the given probability."""
    return bool(rng.random() < probability)


def pick(rng: np.random.Generator, *options: str) -> str:
    """One of the options, each equally likely."""
    return options[rng.integers(len(options))]


def count_of(number: int, noun: str, plural: str | None = None) -> str:
    """A counted noun: "four legs", "one leg"; `plural` where it is not the noun with an "s"."""
    return f"{NUMBER_WORDS[number]} {noun if number == 1 else plural or noun + 's'}"


def four_legs(
    rng: np.random.Generator, width: float, depth: float, height: float, thickness: float
) -> list[Surface]:
    """Legs under the corners of a `width` x `depth` plate: square, round or slanting."""
    style = pick(rng, "square", "round", "slanting")
    x, z = width / 2 - thickness, depth / 2 - thickness
    corners = [(-x, -z), (x, -z), (x, z), (-x, z)]
    if style == "square":
        foot = thickness * rng.uniform(0.6, 1)
        return [taper(foot, foot, thickness, thickness, height, (cx, 0, cz)) for cx, cz in corners]
    if style == "round":
        foot = rng.uniform(0.5, 1)
        profile = [(foot * thickness / 2, 0), (thickness / 2, height)]
        return [lathe(profile, (cx, 0, cz), 8) for cx, cz in corners]
    inset = rng.uniform(0.6, 0.85)
    return [
        rod((cx, 0, cz), (inset * cx, height, inset * cz), thickness * 0.4) for cx, cz in corners
    ]


def spread_legs(number: int, reach: float, top: float, height: float, radius: float):
    """`number` rods from a circle of radius `reach` on the floor to one of radius `top`."""
    legs = []
    for angle in 2 * np.pi * (np.arange(number) + 0.5) / number:
        x, z = np.cos(angle), np.sin(angle)
        legs.append(rod((reach * x, 0, reach * z), (top * x, height, top * z), radius))
    return legs


def pedestal(radius: float, height: float, column: float) -> list[Surface]:
    """A column on a round foot."""
    foot = min(0.08 * height, 0.25 * radius)
    return [
        lathe([(radius, 0), (radius, 0.4 * foot), (1.2 * column, foot)]),
        cylinder(column, height - foot, (0, foot, 0), 12),
    ]


def knob(radius: float, at) -> Surface:
    """A small octagonal knob that looks along +z."""
    return cylinder(radius, radius, segments=8).turn("x", 90).move(*at)


def wheel(radius: float, width: float, at, axle: str = "z") -> Surface:
    """A wheel whose axle lies along "x" or "z", centred at `at`."""
    upright = lathe(
        [
            (0.85 * radius, 0),
            (radius, 0.15 * width),
            (radius, 0.85 * width),
            (0.85 * radius, width),
        ],
        (0, -width / 2, 0),
        14,
    )
    return upright.turn("x" if axle == "z" else "z", 90).move(*at)


def bent_handle(radius: float, thickness: float, height: float, at) -> Surface:
    """A C-shaped handle in the x-y plane that sticks out along +x from `at`."""
    angle = np.radians(np.linspace(-100, 100, 9))
    path = np.stack([radius * np.cos(angle), height * np.sin(angle), 0 * angle], axis=1)
    return tube(path + np.asarray(at), thickness)


def panel_on_front(width: float, height: float, thickness: float, at) -> Surface:
    """A thin plate on a face that looks along +z; `at`: the middle of its bottom edge."""
    x, y, z = at
    return box(width, height, thickness, (x, y, z + thickness / 2))
