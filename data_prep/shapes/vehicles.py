"""Airplanes, boats, cars and trucks.  The nose points along +x."""

import numpy as np

from data_prep.shapes.parts import Shape, chance, count_of, pick, wheel
from data_prep.shapes.surfaces import (
    box,
    cylinder,
    ellipsoid,
    lathe,
    loft,
    prism,
    rod,
    slab,
    taper,
    tube,
)


def airplane(rng: np.random.Generator) -> Shape:
    """A fuselage with wings and a tail: a jet or a propeller plane, sometimes a biplane."""
    shape = Shape()
    length, radius = rng.uniform(3, 4.2), rng.uniform(0.2, 0.32)
    nose = rng.uniform(0.1, 0.2)
    profile = [(0, 0), (0.45, 0.04), (1, 0.3), (1, 1 - nose), (0.7, 1 - 0.4 * nose), (0, 1)]
    body = lathe([(radius * r, length * (y - 0.5)) for r, y in profile], segments=14)
    shape.add("body", body.turn("z", -90))
    jet = chance(rng, 0.55)
    sweep = rng.uniform(0.5, 1.1) if jet else rng.uniform(0, 0.2)
    span, chord = rng.uniform(1.3, 2.1), rng.uniform(0.5, 0.8)
    levels = [-0.3 * radius]
    if not jet and chance(rng, 0.4):
        levels = [-0.7 * radius, 2.2 * radius]
        shape.say("two pairs of wings")
        for z in (-0.5, 0.5):
            for x in (0.1, 0.4):
                ends = ((x, levels[0], z * span), (x, levels[1], z * span))
                shape.add("struts", rod(*ends, 0.03, 6))
    elif not jet and chance(rng, 0.5):
        levels = [0.9 * radius]
        shape.say("high wings")
    for y in levels:
        shape.add("wings", *_wing_pair(span, chord, sweep, rng.uniform(0, 0.2), (0.25, y)))
    tail = 0.1 - length / 2
    shape.add("tail", *_wing_pair(0.36 * span, 0.4, 0.4 * sweep, 0.0, (tail + 0.2, 0.1)))
    high = rng.uniform(0.6, 0.9)
    outline = [
        (tail, 0.5 * radius),
        (tail + 0.55, 0.5 * radius),
        (tail + 0.15, high),
        (tail - 0.1, high),
    ]
    shape.add("tail", prism(outline, 0.05))
    if jet:
        engines = int(rng.integers(1, 3)) * 2
        for index in range(engines):
            side, place = (-1) ** index, 0.3 + 0.3 * (index // 2)
            x = 0.35 - sweep * place
            pod = lathe([(0.09, 0), (0.13, 0.25), (0.13, 0.5), (0.1, 0.55)], segments=10)
            shape.add("engines", pod.turn("z", -90).move(x, -radius, side * place * span))
        shape.say(count_of(engines, "engine"), "swept wings")
    else:
        blade, front = rng.uniform(0.4, 0.6), length / 2
        for turn in np.arange(3) * 120 if chance(rng, 0.5) else (0, 180):
            solid = box(0.03, blade, 0.1).turn("x", turn)
            shape.add("propeller", solid.move(front, 0, 0))
        shape.say("a propeller", "straight wings")
        for z in (-0.3, 0.3):
            shape.add("wheels", wheel(0.12, 0.08, (0.4, -radius - 0.2, z)))
            shape.add("struts", rod((0.4, -radius - 0.2, z), (0.4, -0.5 * radius, z / 2), 0.03, 6))
    glass = ellipsoid(0.3, 0.6 * radius, 0.6 * radius, (0.28 * length, 0.75 * radius, 0), 10)
    shape.add("cockpit", glass)
    return shape


def _wing_pair(span: float, chord: float, sweep: float, rise: float, at: tuple[float, float]):
    """Two wings from the root at (x, y); `sweep` and `rise`: how far the tips lie back and up."""
    x, y = at
    wings = []
    for side in (-1, 1):
        rings = []
        for along, width in ((0, chord), (1, 0.5 * chord)):
            centre = (x - sweep * along, y + rise * along, side * span * along)
            corners = [(width / 2, 0), (0, 0.035), (-width / 2, 0), (0, -0.035)]
            rings.append([(centre[0] + cx, centre[1] + cy, centre[2]) for cx, cy in corners])
        wings.append(loft(np.array(rings)))
    return wings


def boat(rng: np.random.Generator) -> Shape:
    """A hull with a sail, a cabin or benches."""
    shape = Shape()
    length, width, height = rng.uniform(2.2, 3.2), rng.uniform(0.75, 1.15), rng.uniform(0.4, 0.65)
    kind = pick(rng, "sail", "cabin", "rowing")
    _hull(rng, shape, length, width, height, opened=kind == "rowing")
    deck = 0.92 * height
    if kind == "sail":
        _sails(rng, shape, length, deck)
    elif kind == "cabin":
        wide, long, high = 0.62 * width, rng.uniform(0.3, 0.45) * length, rng.uniform(0.35, 0.6)
        x = rng.uniform(-0.2, 0) * length
        shape.add("cabin", taper(long, wide, 0.85 * long, 0.9 * wide, high, (x, deck, 0)))
        shape.add("roof", box(long, 0.05, wide, (x, deck + high, 0)))
        for side in (-1, 1):
            for place in (-0.25, 0, 0.25):
                window = box(
                    0.16 * long, 0.3 * high, 0.03, (x + place * long, deck + 0.45 * high, 0)
                )
                shape.add("windows", window.move(z=side * 0.48 * wide))
        shape.say("a cabin")
        if chance(rng, 0.6):
            shape.add("chimney", cylinder(0.1, 0.4, (x - 0.1, deck + high, 0), 12))
            shape.say("a chimney")
    else:
        benches = int(rng.integers(2, 4))
        for x in np.linspace(-0.28, 0.2, benches) * length:
            shape.add("benches", box(0.18, 0.04, 0.8 * width, (x, 0.7 * height, 0)))
        shape.say(count_of(benches, "bench", "benches"))
        if chance(rng, 0.6):
            for side in (-1, 1):
                ends = (
                    (0, 1.02 * height, 0.35 * side * width),
                    (-0.4, 0.5 * height, 1.2 * side * width),
                )
                shape.add("oars", rod(*ends, 0.025, 6))
                blade = box(0.12, 0.3, 0.03, (-0.4, 0.3 * height, 1.2 * side * width))
                shape.add("oars", blade)
            shape.say("two oars")
    return shape


def _hull(rng, shape: Shape, length: float, width: float, height: float, opened: bool) -> None:
    """The hull in cross sections from stern to bow, with a hollow or a deck."""
    place = np.linspace(-0.5, 0.5, 9)
    stern = rng.uniform(0.5, 0.85)
    beam = np.interp(place, [-0.5, -0.1, 0.15, 0.35, 0.5], [stern, 1, 0.95, 0.6, 0.04]) * width / 2
    lift = np.interp(place, [-0.5, 0.1, 0.5], [0.05, 0, 0.25]) * height
    rise = height * (1 + 0.25 * np.clip(place, 0, 1) ** 2 * 4)
    x = place * length
    ribs = []
    for index in range(len(x)):
        b, low, top = beam[index], lift[index], rise[index]
        middle = low + 0.45 * (top - low)
        outer = [
            (top, -b),
            (middle, -0.85 * b),
            (low, -0.35 * b),
            (low, 0.35 * b),
            (middle, 0.85 * b),
            (top, b),
        ]
        floor = low + (0.25 if opened else 0.85) * (top - low)
        inner = [
            (top, 0.88 * b),
            (floor, 0.6 * b if opened else 0.88 * b),
            (floor, -0.6 * b if opened else -0.88 * b),
            (top, -0.88 * b),
        ]
        ribs.append([(x[index], y, z) for y, z in outer + inner])
    shape.add("hull", loft(np.array(ribs)))
    edge = [[(x[i], rise[i], s * beam[i]) for i in range(len(x))] for s in (-1, 1)]
    shape.add("rim", *(tube(path, 0.035, 6) for path in edge))


def _sails(rng: np.random.Generator, shape: Shape, length: float, deck: float) -> None:
    masts = 2 if chance(rng, 0.3) else 1
    for mast in range(masts):
        x = 0.08 * length if masts == 1 else (0.22 - 0.4 * mast) * length
        high = rng.uniform(1.6, 2.4) * (1 - 0.2 * mast)
        shape.add("mast" if masts == 1 else "masts", cylinder(0.04, high, (x, deck, 0), 8))
        long = rng.uniform(0.32, 0.45) * length / masts**0.5
        low = deck + 0.2
        outline = [(x - 0.06, low), (x - 0.06, deck + 0.97 * high), (x - long, low + 0.05)]
        shape.add("sails", prism(outline, 0.03))
        if mast == 0 and chance(rng, 0.6):
            jib = [(x + 0.06, deck + 0.8 * high), (x + 0.06, low), (0.48 * length, low)]
            shape.add("sails", prism(jib, 0.03))
    shape.say("one mast" if masts == 1 else "two masts", "sails")


def car(rng: np.random.Generator) -> Shape:
    """A passenger car on four wheels: saloon, hatchback, estate, sports car or cabriolet."""
    shape = Shape()
    length, width = rng.uniform(1.9, 2.5), rng.uniform(0.85, 1.05)
    radius, body = rng.uniform(0.16, 0.24), rng.uniform(0.26, 0.38)
    low = 0.65 * radius
    back = np.array([-0.5, -0.48, -0.2, 0.2, 0.46, 0.5]) * length
    hood = rng.uniform(0.75, 0.95)
    lower = low + np.array([0.08, 0, 0, 0, 0, 0.06])
    upper = low + body * np.array([0.85, 0.97, 1, 1, hood, 0.6])
    shape.add("body", slab(back, lower, upper, width * np.array([0.9, 0.97, 1, 1, 0.96, 0.88])))
    style = pick(rng, "saloon", "hatchback", "estate", "sports", "cabriolet")
    roof = rng.uniform(0.22, 0.34) * (0.7 if style == "sports" else 1)
    rear = {"saloon": -0.36, "hatchback": -0.46, "estate": -0.49, "sports": -0.42}.get(style)
    top = low + body
    if rear is None:
        screen = prism([(0, 0), (0.03, 0), (-0.12, 0.6 * roof), (-0.15, 0.6 * roof)], 0.9 * width)
        shape.add("windows", screen.move(0.22 * length, top - 0.02, 0))
        for x in (0.0, -0.22):
            shape.add("seats", box(0.08, 0.2, 0.7 * width, (x * length, top, 0)))
        shape.say("no roof", "two rows of seats")
    else:
        slope = 0.16 if style != "estate" else 0.03
        floor = np.array([(rear, 0), (0.26, 0)])
        peak = np.array([(0.1, 1), (rear + slope, 1)])
        outline = np.concatenate([floor, peak]) * (length, roof)
        shape.add("windows", prism(outline, 0.86 * width, (0, top - 0.01, 0)))
        plate = (peak[0, 0] - peak[1, 0] + 0.02) * length
        middle = peak[:, 0].mean() * length
        shape.add("roof", box(plate, 0.04, 0.89 * width, (middle, top + roof - 0.02, 0)))
        shape.say(
            "a low roof" if style == "sports" else "a long roof" if style == "estate" else "a roof"
        )
    for x in (-0.3, 0.31):
        for side in (-1, 1):
            shape.add("wheels", wheel(radius, 0.16, (x * length, radius, side * 0.46 * width)))
    for side in (-1, 1):
        place = (0.49 * length, low + 0.45 * body, side * 0.33 * width)
        shape.add("lights", ellipsoid(0.05, 0.06, 0.08, place, 8))
    if style == "sports" and chance(rng, 0.6):
        shape.add("spoiler", box(0.12, 0.04, width, (-0.46 * length, top + 0.1, 0)))
        for z in (-0.35, 0.35):
            shape.add("spoiler", box(0.05, 0.14, 0.05, (-0.46 * length, top - 0.03, z * width)))
        shape.say("a spoiler")
    shape.say("four wheels")
    return shape


def truck(rng: np.random.Generator) -> Shape:
    """A cab in front of a load: a box, a tank, or an open bed."""
    shape = Shape()
    length, width = rng.uniform(2.6, 3.6), rng.uniform(0.85, 1.0)
    radius = rng.uniform(0.18, 0.24)
    low, deck = 1.2 * radius, 2.1 * radius
    shape.add("chassis", box(length, deck - low, 0.6 * width, (0, low, 0)))
    cab, tall = rng.uniform(0.24, 0.3) * length, rng.uniform(0.65, 0.9)
    front = length / 2
    outline = [(0, 0), (cab, 0), (cab, 0.5 * tall), (0.75 * cab, tall), (0, tall)]
    shape.add("cab", prism(outline, width, (front - cab, low, 0)))
    pane = box(0.03, 0.4 * tall, 0.85 * width).turn(
        "z", np.degrees(np.arctan2(0.25 * cab, 0.5 * tall))
    )
    shape.add("windows", pane.move(front + 0.005, low + 0.54 * tall, 0))
    for side in (-1, 1):
        window = box(0.45 * cab, 0.3 * tall, 0.02, (front - 0.55 * cab, low + 0.55 * tall, 0))
        shape.add("windows", window.move(z=side * width / 2))
    load, start = length - cab - 0.08, -length / 2
    middle = start + load / 2
    kind = pick(rng, "box", "tank", "bed")
    if kind == "box":
        high = rng.uniform(0.8, 1.3)
        shape.add("box", box(load, high, 1.04 * width, (middle, deck, 0)))
        shape.say("a large box")
    elif kind == "tank":
        size = 0.52 * width
        ends = [(0, 0), (0.7, 0.03), (1, 0.1), (1, 0.9), (0.7, 0.97), (0, 1)]
        tank = lathe([(size * r, load * y) for r, y in ends], segments=16).turn("z", -90)
        shape.add("tank", tank.move(start, deck + size, 0))
        shape.say("a round tank")
    else:
        high = rng.uniform(0.22, 0.36)
        shape.add("bed", box(load, 0.06, width, (middle, deck, 0)))
        shape.add("bed", *(box(load, high, 0.05, (middle, deck, s * width / 2)) for s in (-1, 1)))
        shape.add("bed", box(0.05, high, width, (start, deck, 0)))
        shape.say("an open bed")
    axles = [front - 0.55 * cab, start + 0.16 * length]
    if chance(rng, 0.6):
        axles.append(start + 0.16 * length + 2.3 * radius)
    for x in axles:
        for side in (-1, 1):
            shape.add("wheels", wheel(radius, 0.2, (x, radius, side * 0.42 * width)))
    shape.say(count_of(2 * len(axles), "wheel"), "a cab")
    return shape
