"""Vessels and dishes: mostly turned profiles."""

import numpy as np

from data_prep.shapes.parts import Shape, bent_handle, chance
from data_prep.shapes.surfaces import box, cylinder, ellipsoid, lathe, ring, rod


def barrel(rng: np.random.Generator) -> Shape:
    """A bulging cask with hoops, upright or lying."""
    shape = Shape()
    height, radius = rng.uniform(0.9, 1.25), rng.uniform(0.36, 0.46)
    bulge = rng.uniform(0.1, 0.28)
    along = np.linspace(0, 1, 9)

    def girth(at):
        return radius * (1 + bulge * np.sin(np.pi * at))

    lid = 0.05 * height
    profile = [
        (0.9 * radius, lid),
        (0.9 * radius, 0),
        *zip(girth(along), along * height, strict=True),
    ]
    profile += [(0.9 * radius, height), (0.9 * radius, height - lid)]
    shape.add("body", lathe(profile, segments=20))
    hoops = int(rng.choice([2, 3, 4]))
    for at in np.linspace(0.1, 0.9, hoops):
        band = [
            (1.03 * girth(at - 0.035), (at - 0.035) * height),
            (1.03 * girth(at + 0.035), (at + 0.035) * height),
        ]
        shape.add("hoops", lathe(band, segments=20, caps=False))
    shape.say(f"{('two', 'three', 'four')[hoops - 2]} hoops")
    if chance(rng, 0.3):
        shape.add("tap", rod((0, 0.2 * height, radius), (0, 0.2 * height, radius + 0.22), 0.03))
        shape.say("a tap")
    if chance(rng, 0.25):
        shape.turn("x", 90)
        shape.say("a body on its side")
    shape.say("a bulging body" if bulge > 0.19 else "a slim body")
    return shape


def bottle(rng: np.random.Generator) -> Shape:
    """A body that narrows to a neck, with a cap and perhaps a label."""
    shape = Shape()
    radius, body = rng.uniform(0.16, 0.26), rng.uniform(0.45, 0.8)
    neck, tall = radius * rng.uniform(0.25, 0.42), rng.uniform(0.2, 0.4)
    shoulder = rng.uniform(0.08, 0.25)
    waist = rng.uniform(0.8, 1.0)
    profile = [
        (0.9 * radius, 0),
        (radius, 0.03),
        (waist * radius, body / 2),
        (radius, body),
        (0.75 * radius, body + 0.5 * shoulder),
        (neck, body + shoulder),
        (neck, body + shoulder + tall),
    ]
    square = chance(rng, 0.2)
    shape.add("body", lathe(profile, segments=4 if square else 18))
    top = body + shoulder + tall
    if chance(rng, 0.75):
        shape.add("cap", cylinder(1.25 * neck, rng.uniform(0.06, 0.12), (0, top - 0.03, 0), 12))
        shape.say("a cap")
    if chance(rng, 0.6) and not square:
        low, high = 0.2 * body, 0.75 * body
        sleeve = [(1.02 * radius, low), (1.02 * radius, high)]
        shape.add("label", lathe(sleeve, segments=18, caps=False))
        shape.say("a label")
    shape.say("a long neck" if tall > 0.3 else "a short neck")
    if square:
        shape.say("square sides")
    return shape


def bowl(rng: np.random.Generator) -> Shape:
    """A deep round dish, open at the top."""
    shape = Shape()
    radius, depth = 0.5, rng.uniform(0.26, 0.46)
    foot, wall = rng.uniform(0.18, 0.26), rng.uniform(0.025, 0.05)
    belly, lift = rng.uniform(0.5, 0.9), rng.uniform(0.03, 0.1)
    polar = np.radians(np.linspace(-90, 0, 7))
    across = foot + (radius - foot) * np.cos(polar) ** belly
    up = depth * (1 + np.sin(polar))
    outside = [(foot, -lift), *zip(across, up, strict=True)]
    inside = [*zip(across[::-1] - wall, up[::-1] + wall, strict=True), (0, wall)]
    shape.add("body", lathe([*outside, *inside], segments=24))
    if chance(rng, 0.5):
        shape.add("rim", ring(radius - wall / 2, 0.7 * wall, (0, depth + wall / 2, 0), 24, 6))
        shape.say("a thick rim")
    if chance(rng, 0.3):
        size = 0.14
        around = [
            (0.26 * np.cos(angle), 0.26 * np.sin(angle)) for angle in np.arange(8) * np.pi / 4
        ]
        for x, z in [(0, 0), *around]:
            shape.add("fruits", ellipsoid(size, size, size, (x, 0.75 * depth, z), 8))
        shape.say("round fruits in it")
    shape.say("a deep inside" if depth > 0.36 else "a wide opening", "a small foot")
    return shape


def cup(rng: np.random.Generator) -> Shape:
    """An open cylinder or tapered vessel with one handle or two, sometimes on a saucer."""
    shape = Shape()
    top, height = rng.uniform(0.3, 0.42), rng.uniform(0.55, 0.9)
    bottom, wall = top * rng.uniform(0.6, 1.0), 0.045
    lift = 0.0
    if chance(rng, 0.3):
        lift, wide = 0.05, rng.uniform(0.6, 0.75)
        shape.add(
            "saucer",
            lathe(
                [(0.5 * wide, 0), (wide, 0.08), (0.95 * wide, 0.1), (0.5 * wide, 0.04), (0, 0.04)]
            ),
        )
        shape.say("a saucer")
    middle = (top + bottom) / 2 * rng.uniform(0.95, 1.12)
    profile = [
        (bottom, 0),
        (middle, height / 2),
        (top, height),
        (top - wall, height),
        (middle - wall, height / 2),
        (bottom - wall, wall),
        (0, wall),
    ]
    shape.add("body", lathe(profile, (0, lift, 0), 20))
    handles = 2 if chance(rng, 0.15) else 1
    size, tall = rng.uniform(0.18, 0.28), rng.uniform(0.18, 0.28)
    for side in (1, -1)[:handles]:
        handle = bent_handle(
            size, rng.uniform(0.03, 0.05), tall, (middle - 0.02, height / 2 + lift, 0)
        )
        shape.add("handle" if handles == 1 else "handles", handle.scale(x=side))
    shape.say("a handle" if handles == 1 else "two handles")
    if chance(rng, 0.35):
        shape.add(
            "drink", cylinder(0.5 * (middle + top) - wall, 0.02, (0, lift + 0.78 * height, 0))
        )
        shape.say("a drink in it")
    shape.say("straight sides" if bottom > 0.85 * top else "slanting sides")
    return shape


def pan(rng: np.random.Generator) -> Shape:
    """A shallow round pan with one long handle."""
    shape = Shape()
    radius, depth = 0.5, rng.uniform(0.1, 0.26)
    base, wall = radius * rng.uniform(0.75, 0.95), 0.03
    profile = [(base, 0), (radius, depth), (radius - wall, depth), (base - wall, wall), (0, wall)]
    shape.add("body", lathe(profile, segments=24))
    length, thick = rng.uniform(0.6, 1.0), rng.uniform(0.03, 0.055)
    start, rise = radius - 0.02, rng.uniform(0, 0.15)
    end = (start + length, 0.8 * depth + rise, 0)
    if chance(rng, 0.5):
        shape.add("handle", rod((start, 0.75 * depth, 0), end, thick))
    else:
        bar = box(length, 0.04, 2.4 * thick, (length / 2, 0, 0))
        shape.add(
            "handle",
            bar.turn("z", np.degrees(np.arctan2(rise, length))).move(start, 0.75 * depth, 0),
        )
    if chance(rng, 0.25):
        shape.add(
            "lid", lathe([(radius, 0), (0.6 * radius, 0.08), (0.05, 0.12)], (0, depth, 0), 24)
        )
        shape.add("knob", cylinder(0.06, 0.08, (0, depth + 0.11, 0), 10))
        shape.say("a lid")
    elif chance(rng, 0.3):
        shape.add("egg", lathe([(0.26, 0), (0.22, 0.02)], (0.05, wall, 0.03), 12))
        shape.add("yolk", ellipsoid(0.1, 0.05, 0.1, (0.05, wall + 0.02, 0.03), 10))
        shape.say("an egg in it")
    shape.say("a long handle" if length > 0.8 else "a short handle")
    shape.say("high sides" if depth > 0.18 else "low sides")
    return shape


def plate(rng: np.random.Generator) -> Shape:
    """A flat dish, round or many-sided, with a raised rim."""
    shape = Shape()
    radius, depth = 0.5, rng.uniform(0.04, 0.09)
    flat, wall = rng.uniform(0.55, 0.72) * radius, 0.02
    sides = int(rng.choice([4, 8, 28, 28, 28]))
    rim = [(flat, 0), (radius, depth), (radius, depth + wall), (flat, wall)]
    shape.add("rim", lathe([*rim, rim[0]], segments=sides, caps=False))
    shape.add("middle", lathe([(0.98 * flat, 0), (0.98 * flat, 1.2 * wall)], segments=sides))
    if chance(rng, 0.4):
        line = [
            (r, 1.2 * wall + depth * (r - flat) / (radius - flat))
            for r in (0.82 * radius, 0.9 * radius)
        ]
        shape.add("ring", lathe(line, segments=sides, caps=False))
        shape.say("a ring")
    if sides != 28:
        shape.say(f"{'four' if sides == 4 else 'eight'} corners")
    shape.say("a wide rim" if flat < 0.32 else "a narrow rim")
    return shape
