"""Bookshelves, cabinets, chests, and books.  The front looks along +z."""

import numpy as np

from data_prep.shapes.parts import (
    Shape,
    chance,
    count_of,
    four_legs,
    knob,
    panel_on_front,
    pick,
)
from data_prep.shapes.surfaces import (
    arc,
    box,
    loft,
    prism,
    tube,
)


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


def book(rng: np.random.Generator) -> Shape:
    """A book: closed and lying, closed and standing, or open."""
    shape = Shape()
    width, length, thickness = rng.uniform(0.6, 0.85), 1.0, rng.uniform(0.06, 0.2)
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
        shape.say("a thick spine" if thickness > 0.13 else "a thin spine")
        if chance(rng, 0.5):
            shape.turn("x", 90)
            shape.say("closed pages")
    return shape
