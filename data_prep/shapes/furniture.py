"""Tables, lamps and sinks.  The front looks along +z."""

import numpy as np

from data_prep.shapes.parts import (
    Shape,
    chance,
    four_legs,
    panel_on_front,
    pedestal,
    pick,
    spread_legs,
)
from data_prep.shapes.surfaces import (
    arc,
    beam,
    box,
    cylinder,
    ellipsoid,
    lathe,
    rod,
    taper,
    tube,
)


def table(rng: np.random.Generator) -> Shape:
    """A wide top on legs or on a column."""
    shape = Shape()
    width, height = rng.uniform(0.9, 1.9), rng.uniform(0.45, 0.8)
    thickness = rng.uniform(0.03, 0.08)
    rounded = chance(rng, 0.4)
    depth = width * (rng.uniform(0.75, 1) if rounded else rng.uniform(0.5, 1))
    if rounded:
        top = cylinder(width / 2, thickness, (0, height, 0), 24)
        shape.add("top", top.scale(1, 1, depth / width))
        shape.say("a round top")
    else:
        shape.add("top", box(width, thickness, depth, (0, height, 0)))
        shape.say("a square top" if depth > 0.9 * width else "a long top")
    inner = (0.7 * width, 0.7 * depth) if rounded else (width, depth)
    base = pick(rng, "legs", "legs", "column", "trestle")
    if base == "legs":
        shape.add("legs", *four_legs(rng, *inner, height, rng.uniform(0.05, 0.1)))
        shape.say("four legs")
        if chance(rng, 0.4):
            apron = (0.85 * inner[0], 0.09, 0.85 * inner[1])
            shape.add("legs", box(*apron, (0, height - 0.09, 0)))
        if chance(rng, 0.2):
            place = (0, 0.3 * height, 0)
            shape.add("shelf", box(0.85 * inner[0], 0.03, 0.8 * inner[1], place))
            shape.say("a shelf below")
    elif base == "column":
        foot = rng.uniform(0.22, 0.32) * depth
        shape.add("foot", *pedestal(foot, height, rng.uniform(0.04, 0.08)))
        shape.say("a central foot")
    else:
        x, z = 0.36 * width, 0.36 * depth
        for side in (-x, x):
            shape.add("legs", beam((side, 0, -z), (side, height, z), 0.06))
            shape.add("legs", beam((side, 0, z), (side, height, -z), 0.06))
        shape.add("legs", beam((-x, height / 2, 0), (x, height / 2, 0), 0.05))
        shape.say("crossed legs")
    return shape


def lamp(rng: np.random.Generator) -> Shape:
    """A shade on a stand: a table lamp, a floor lamp or a desk lamp with a bent arm."""
    shape = Shape()
    kind = pick(rng, "table", "floor", "desk")
    if kind == "desk":
        return _desk_lamp(rng, shape)
    height = rng.uniform(0.3, 0.5) if kind == "table" else rng.uniform(0.9, 1.4)
    shade = rng.uniform(0.17, 0.24)
    if kind == "floor" and chance(rng, 0.4):
        shape.add("stand", *spread_legs(3, 0.24, 0.02, height, 0.018))
        shape.say("three legs")
    elif kind == "table" and chance(rng, 0.6):
        belly, middle = rng.uniform(0.08, 0.13), rng.uniform(0.25, 0.5)
        profile = [
            (0.08, 0),
            (0.09, 0.03),
            (belly, middle * height),
            (0.03, 0.8 * height),
            (0.02, height),
        ]
        shape.add("stand", lathe(profile, segments=14))
        shape.say("a round body")
    else:
        shape.add("stand", *pedestal(rng.uniform(0.11, 0.16), height, 0.018))
        shape.say("a thin stand" if kind == "floor" else "a short stand")
    tall = rng.uniform(0.2, 0.32)
    top = rng.uniform(0.45, 1) * shade
    profile = [(shade, 0), (top, tall), (0.92 * top, tall), (0.92 * shade, 0), (shade, 0)]
    shape.add("shade", lathe(profile, (0, height - 0.3 * tall, 0), 18, caps=False))
    shape.add("bulb", ellipsoid(0.05, 0.06, 0.05, (0, height + 0.06, 0), 8))
    shape.say("a cone shade" if top < 0.75 * shade else "a drum shade")
    if kind == "floor":
        shape.say("a tall stand")
    return shape


def _desk_lamp(rng: np.random.Generator, shape: Shape) -> Shape:
    shape.add("base", lathe([(0.15, 0), (0.15, 0.025), (0.04, 0.05)]))
    lower, upper = rng.uniform(0.25, 0.4), rng.uniform(0.22, 0.36)
    lean = np.radians(rng.uniform(100, 125))
    elbow = np.array([lower * np.cos(lean), 0.04 + lower * np.sin(lean), 0])
    rise = np.radians(rng.uniform(20, 50))
    head = elbow + upper * np.array([np.cos(rise), np.sin(rise), 0])
    shape.add("arm", rod((0, 0.03, 0), elbow, 0.016), rod(elbow, head, 0.016))
    shape.add("arm", ellipsoid(0.03, 0.03, 0.03, elbow, 8))
    size = rng.uniform(0.1, 0.15)
    profile = [
        (size, 0),
        (0.35 * size, 1.3 * size),
        (0.32 * size, 1.3 * size),
        (0.92 * size, 0),
        (size, 0),
    ]
    shade = lathe(profile, (0, -1.1 * size, 0), caps=False).turn("z", rng.uniform(10, 45))
    shape.add("shade", shade.move(*head))
    shape.say("a bent arm", "a round base")
    return shape


def sink(rng: np.random.Generator) -> Shape:
    """A basin with a tap, on a column, in a counter or on a wall plate."""
    shape = Shape()
    width, depth, bowl = rng.uniform(0.5, 0.8), rng.uniform(0.4, 0.55), rng.uniform(0.14, 0.24)
    rim, wall = rng.uniform(0.7, 0.9), 0.04
    if chance(rng, 0.5):
        profile = [
            (0.35, 0),
            (0.48, 0.6 * bowl),
            (0.5, bowl),
            (0.44, bowl),
            (0.4, 0.6 * bowl),
            (0.2, 0.25 * bowl),
            (0, 0.2 * bowl),
        ]
        shape.add(
            "basin", lathe(profile, segments=20).scale(width, 1, depth).move(0, rim - bowl, 0)
        )
        shape.say("a round basin")
    else:
        y, x, z = rim - bowl, (width - wall) / 2, (depth - wall) / 2
        shape.add("basin", box(width, wall, depth, (0, y, 0)))
        shape.add("basin", *(box(wall, bowl, depth, (s * x, y, 0)) for s in (-1, 1)))
        shape.add("basin", *(box(width, bowl, wall, (0, y, s * z)) for s in (-1, 1)))
        shape.say("a square basin")
    stand = pick(rng, "column", "cupboard", "frame")
    below = rim - bowl
    if stand == "column":
        profile = [(0.16, 0), (0.14, 0.05), (0.08, 0.4 * below), (0.12, below)]
        shape.add("column", lathe(profile, segments=12))
        shape.say("a column")
    elif stand == "cupboard":
        shape.add("cupboard", box(1.05 * width, below, depth))
        for side in (-1, 1):
            place = (side * 0.26 * width, 0.06, depth / 2)
            shape.add("doors", panel_on_front(0.48 * width, below - 0.12, 0.02, place))
        shape.say("a cupboard below")
    else:
        shape.add("legs", *four_legs(rng, 0.9 * width, 0.9 * depth, below, 0.04))
        shape.say("four legs")
    _tap(rng, shape, rim, -0.44 * depth)
    return shape


def _tap(rng: np.random.Generator, shape: Shape, y: float, z: float) -> None:
    rise, reach = rng.uniform(0.12, 0.25), rng.uniform(0.14, 0.2)
    bend = arc((z + reach / 2, y + rise), reach / 2, 180, -20, 9)
    path = [(0, y - 0.02, z), *((0, py, pz) for pz, py in bend)]
    shape.add("tap", tube(path, 0.022))
    for side in (-1, 1):
        shape.add("tap", taper(0.05, 0.05, 0.03, 0.03, 0.07, (side * 0.1, y - 0.01, z)))
    shape.say("a curved tap")
