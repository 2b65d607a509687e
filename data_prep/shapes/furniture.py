"""Tables, storage and lamps.  The front looks along +z."""

import numpy as np

from data_prep.shapes.parts import (
    Shape,
    chance,
    count_of,
    four_legs,
    knob,
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
    loft,
    prism,
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


def bookshelf(rng: np.random.Generator) -> Shape:
    """An open upright frame of shelves, partly filled with books."""
    shape = Shape()
    width, height = rng.uniform(0.6, 1.3), rng.uniform(1.2, 2.1)
    depth, board = rng.uniform(0.25, 0.38), rng.uniform(0.025, 0.05)
    for side in (-1, 1):
        shape.add("sides", box(board, height, depth, (side * (width - board) / 2, 0, 0)))
    closed = chance(rng, 0.6)
    if closed:
        shape.add("back", box(width, height, 0.02, (0, 0, -depth / 2)))
    number = int(rng.integers(3, 7))
    levels = np.linspace(0.04, height - board, number + 1)
    shape.add("shelves", *(box(width - board, board, depth, (0, y, 0)) for y in levels))
    shape.say(count_of(number, "shelf", "shelves"))
    filled = rng.uniform(0.2, 0.9)
    gap = levels[1] - levels[0] - board
    for level in levels[:-1]:
        x, end = board - width / 2, (width / 2 - board) * (2 * filled - 1)
        while x < end:
            book = rng.uniform(0.05, 0.12)
            if chance(rng, 0.85):
                tall = gap * rng.uniform(0.6, 0.95)
                part = pick(rng, "books", "_more books")
                place = (x + book / 2, level + board, 0.02)
                shape.add(part, box(0.92 * book, tall, 0.75 * depth, place))
            x += book
    if "books" in shape.parts:
        shape.say("many books" if filled > 0.5 else "a few books")
    shape.say("a closed back" if closed else "an open back")
    return shape


def cabinet(rng: np.random.Generator) -> Shape:
    """A closed box with doors and drawers."""
    shape = Shape()
    width, height = rng.uniform(0.7, 1.3), rng.uniform(0.7, 1.7)
    depth, lift = rng.uniform(0.38, 0.55), rng.uniform(0.04, 0.2)
    shape.add("body", box(width, height, depth, (0, lift, 0)))
    shape.add("top", box(1.06 * width, 0.04, 1.06 * depth, (0, lift + height, 0)))
    if chance(rng, 0.5):
        shape.add("legs", *four_legs(rng, width, depth, lift, 0.06))
        shape.say("four short legs")
    else:
        shape.add("plinth", box(0.92 * width, lift, 0.9 * depth))
    drawers = int(rng.integers(0, 4)) if height < 1.2 else int(rng.integers(0, 3))
    drawer, front = 0.2 * height, depth / 2
    for index in range(drawers):
        y = lift + height - (index + 1) * drawer
        place = (0, y + 0.02, front)
        shape.add("drawers", panel_on_front(0.92 * width, drawer - 0.04, 0.03, place))
        shape.add("handles", box(0.2 * width, 0.025, 0.05, (0, y + drawer / 2, front + 0.05)))
    doors = int(rng.integers(1, 4)) if width > 0.85 else int(rng.integers(1, 3))
    tall, wide = height - drawers * drawer, 0.94 * width / doors
    for index in range(doors):
        x = (index - (doors - 1) / 2) * wide
        place = (x, lift + 0.02, front)
        shape.add("doors", panel_on_front(0.94 * wide, tall - 0.05, 0.03, place))
        side = -1 if index % 2 else 1
        shape.add("handles", knob(0.03, (x + side * 0.36 * wide, lift + tall / 2, front + 0.03)))
    shape.say(count_of(doors, "door"))
    if drawers:
        shape.say(count_of(drawers, "drawer"))
    return shape


def chest(rng: np.random.Generator) -> Shape:
    """A low box with an arched lid, shut or open, held by bands."""
    shape = Shape()
    width, height, depth = rng.uniform(0.8, 1.2), rng.uniform(0.3, 0.5), rng.uniform(0.5, 0.7)
    rise = rng.uniform(0.25, 0.45) * depth
    lid_outline = arc((0, 0), 1, 0, 180, 12) * (depth / 2, rise)
    opened = rng.uniform(40, 85) if chance(rng, 0.3) else 0.0

    def lid(part_width: float, grow: float, x: float = 0.0):
        solid = prism(lid_outline * grow, part_width).turn("y", 90)
        return solid.move(x, 0, depth / 2).turn("x", -opened).move(0, height, -depth / 2)

    shape.add("box", box(width, height, depth))
    shape.add("lid", lid(width, 1.0))
    for x in np.linspace(-0.42, 0.42, rng.integers(2, 5)) * width:
        shape.add("bands", box(0.07, height, 1.05 * depth, (x, 0, 0)), lid(0.07, 1.05, x))
    lock = panel_on_front(0.12, 0.15, 0.06, (0, height - 0.1, depth / 2))
    shape.add("lock", lock)
    if chance(rng, 0.4):
        for side in (-1, 1):
            path = [
                (side * width / 2, 0.65 * height, -0.1),
                (side * (width / 2 + 0.08), 0.5 * height, 0),
                (side * width / 2, 0.65 * height, 0.1),
            ]
            shape.add("handles", tube(path, 0.02, 6))
        shape.say("two handles")
    shape.say("an open lid" if opened else "a closed lid", "an arched lid")
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


def book(rng: np.random.Generator) -> Shape:
    """A book: closed and lying, closed and standing, or open."""
    shape = Shape()
    width, length, thickness = rng.uniform(0.6, 0.85), 1.0, rng.uniform(0.08, 0.28)
    cover = rng.uniform(0.015, 0.03)
    if chance(rng, 0.4):
        angle = rng.uniform(5, 35)
        for side in (-1, 1):
            board = box(width, cover, length, (width / 2, 0, 0))
            swell = [
                (0, 0),
                (0.97 * width, 0),
                (0.97 * width, 0.3 * thickness),
                (0.6 * width, 0.55 * thickness),
                (0.2 * width, 0.6 * thickness),
            ]
            leaves = prism(swell, 0.95 * length).move(0, cover, 0)
            for part, solid in (("cover", board), ("pages", leaves)):
                shape.add(part, solid.turn("z", angle).scale(side, 1, 1))
        shape.say("open pages")
    else:
        for y in (0, thickness + cover):
            shape.add("cover", box(width, cover, length, (0, y, 0)))
        edge = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (0.475 * width, 0.47 * length)
        rings = [[(x, y, z) for x, z in edge] for y in (cover, cover + thickness)]
        # Only the edges of the pages: the covers hide the rest.
        shape.add("pages", loft(np.array(rings), caps=False))
        shape.add("cover", box(cover, thickness + 2 * cover, length, (-width / 2, 0, 0)))
        if chance(rng, 0.5):
            title = box(0.5 * width, cover, 0.2 * length, (0, thickness + 1.3 * cover, 0.15))
            shape.add("label", title)
            shape.say("a label on the cover")
        shape.say("a thick spine" if thickness > 0.18 else "a thin spine")
        if chance(rng, 0.5):
            shape.turn("x", 90)
            shape.say("closed pages")
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
