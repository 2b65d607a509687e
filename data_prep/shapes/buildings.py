"""Houses, fences and street lights.  The front looks along +z."""

import itertools

import numpy as np

from data_prep.shapes.parts import Shape, chance, count_of, panel_on_front, pick
from data_prep.shapes.surfaces import (
    arc,
    beam,
    box,
    ellipsoid,
    lathe,
    prism,
    rod,
    taper,
    tube,
)


def house(rng: np.random.Generator) -> Shape:
    """Walls under a roof, with a door, windows, perhaps a chimney and a wing."""
    shape = Shape()
    width, depth = rng.uniform(1.2, 2.0), rng.uniform(1.0, 1.5)
    floors = int(rng.integers(1, 3))
    height = floors * rng.uniform(0.6, 0.75)
    shape.add("walls", box(width, height, depth))
    rise = rng.uniform(0.35, 0.8)
    style = pick(rng, "gable", "gable", "hip")
    eaves = rng.uniform(0.06, 0.16)
    if style == "gable":
        gable = [(-depth / 2, 0), (depth / 2, 0), (0, rise)]
        shape.add("walls", prism(gable, 0.98 * width).turn("y", 90).move(y=height))
        slope = np.hypot(depth / 2 + eaves, rise * (1 + 2 * eaves / depth))
        tilt = np.degrees(np.arctan2(rise, depth / 2))
        for side in (-1, 1):
            sheet = box(width + 2 * eaves, 0.06, slope, (0, 0, slope / 2)).turn("x", tilt)
            shape.add("roof", sheet.scale(z=side).move(y=height + rise))
        shape.say("a gable roof")
    else:
        ridge = rng.uniform(0, 0.5) * width
        hip = taper(width + 2 * eaves, depth + 2 * eaves, ridge, 0.02, rise, (0, height, 0))
        shape.add("roof", hip)
        shape.say("a hip roof" if ridge > 0.2 else "a pointed roof")
    door = rng.uniform(-0.25, 0.25) * width
    shape.add("door", panel_on_front(0.24, 0.46, 0.04, (door, 0, depth / 2)))
    _windows(shape, width, depth, height / floors, floors, door)
    if chance(rng, 0.6):
        side = rng.choice([-0.28, 0.28])
        shape.add("chimney", box(0.16, rise + 0.12, 0.16, (side * width, height, -0.15 * depth)))
        shape.say("a chimney")
    if chance(rng, 0.3):
        low, wing = 0.6 * height / floors + 0.15, rng.uniform(0.5, 0.8)
        place = width / 2 + wing / 2
        shape.add("walls", box(wing, low, 0.7 * depth, (place, 0, 0)))
        shape.add("roof", box(wing + 0.08, 0.08, 0.78 * depth, (place, low, 0)))
        shape.say("a side wing")
    shape.say("one floor" if floors == 1 else "two floors", "a door")
    return shape


def _windows(
    shape: Shape, width: float, depth: float, floor: float, floors: int, door: float
) -> None:
    for level in range(floors):
        y = level * floor + 0.38 * floor
        for x in (-0.3, 0.3):
            if level or abs(x * width - door) > 0.28:
                shape.add("windows", panel_on_front(0.22, 0.22, 0.03, (x * width, y, depth / 2)))
            shape.add("windows", box(0.22, 0.22, 0.03, (x * width, y, -depth / 2 - 0.01)))
        for side in (-1, 1):
            shape.add("windows", box(0.03, 0.22, 0.22, (side * (width / 2 + 0.01), y, 0)))


def fence(rng: np.random.Generator) -> Shape:
    """A row of posts joined by rails, pickets, boards or a cross."""
    shape = Shape()
    height, gap = rng.uniform(0.7, 1.1), rng.uniform(0.8, 1.2)
    sections = int(rng.integers(1, 4))
    length, thick = sections * gap, rng.uniform(0.06, 0.12)
    posts = (np.arange(sections + 1) - sections / 2) * gap
    for x in posts:
        shape.add("posts", box(thick, height, thick, (x, 0, 0)))
    tips = pick(rng, "pointed", "flat", "ball")
    for x in posts:
        if tips == "pointed":
            shape.add("posts", taper(1.3 * thick, 1.3 * thick, 0.01, 0.01, thick, (x, height, 0)))
        elif tips == "ball":
            size = 0.75 * thick
            shape.add("posts", ellipsoid(size, size, size, (x, height + 0.5 * size, 0), 8))
    style = pick(rng, "pickets", "rails", "crosses", "boards")
    rail = rng.uniform(0.05, 0.1)
    levels = [0.2 * height, 0.78 * height]
    if style == "rails":
        levels = list(np.linspace(0.15, 0.85, rng.integers(2, 5)) * height)
    elif style == "boards":
        levels = list(np.arange(0.12, 0.85, 0.17) * height)
        rail = 0.14 * height
    shape.add("rails", *(box(length, rail, 0.04, (0, y, 0)) for y in levels))
    if style == "pickets":
        step, wide = rng.uniform(0.14, 0.22), rng.uniform(0.06, 0.1)
        top = height * rng.uniform(0.95, 1.1)
        outline = np.array([(-0.5, 0), (0.5, 0), (0.5, 0.9), (0, 1), (-0.5, 0.9)]) * (wide, top)
        for x in np.arange(step / 2 - length / 2, length / 2, step):
            shape.add("pickets", prism(outline, 0.03, (x, 0.05, 0.035)))
        shape.say("pickets")
    elif style == "crosses":
        for left, right in itertools.pairwise(posts):
            for low, high in (levels, levels[::-1]):
                shape.add("crosses", beam((left, low, 0.01), (right, high, 0.01), 0.05))
        shape.say("crosses")
    else:
        shape.say(f"{'wide boards' if style == 'boards' else 'rails'}")
    shape.say(count_of(len(posts), "post"))
    return shape


def street_light(rng: np.random.Generator) -> Shape:
    """A tall pole whose head hangs from one arm or two, or a lantern on top."""
    shape = Shape()
    height, radius = rng.uniform(2.4, 3.6), rng.uniform(0.04, 0.07)
    shape.add(
        "pole",
        lathe([(1.4 * radius, 0), (radius, 0.3 * height), (0.7 * radius, height)], segments=10),
    )
    foot = rng.uniform(0.12, 0.2)
    shape.add("base", lathe([(foot, 0), (foot, 0.12), (1.4 * radius, 0.3)], segments=12))
    if chance(rng, 0.35):
        size = rng.uniform(0.16, 0.24)
        glass = [(0.5 * size, 0), (size, 1.8 * size)]
        shape.add("light", lathe(glass, (0, height, 0), 6))
        shape.add(
            "cap", lathe([(1.25 * size, 0), (0.05, 0.8 * size)], (0, height + 1.8 * size, 0), 6)
        )
        for side in (-1, 1):
            ends = ((0, 0.85 * height, 0), (side * 0.3, 0.85 * height, 0))
            shape.add("pole", rod(*ends, 0.5 * radius))
        shape.say("a lantern on top")
        return shape
    sides = (1, -1) if chance(rng, 0.35) else (1,)
    reach, curved = rng.uniform(0.6, 1.0), chance(rng, 0.6)
    for side in sides:
        if curved:
            bend = arc((reach / 2, height - 0.03), reach / 2, 180, 20, 9)
            path = [(side * x, y, 0) for x, y in bend]
        else:
            path = [(0, height - 0.2, 0), (side * reach, height + rng.uniform(0, 0.2), 0)]
        shape.add("arms" if len(sides) == 2 else "arm", tube(path, 0.6 * radius))
        x, y, _ = path[-1]
        head = taper(0.5, 0.2, 0.35, 0.12, 0.1, (0.1 * side, -0.02, 0))
        shape.add("cap", head.move(x, y, 0))
        shape.add("light", box(0.4, 0.05, 0.16, (x + 0.1 * side, y - 0.07, 0)))
    shape.say("two arms" if len(sides) == 2 else "one arm")
    shape.say("a curved arm" if curved and len(sides) == 1 else "a tall pole")
    return shape
