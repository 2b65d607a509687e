"""Hand-held things: axes, guitars, keys, ladders, swords, umbrellas.  Built upright along y."""

import numpy as np

from data_prep.shapes.parts import NUMBER_WORDS, Shape, chance, count_of, pick
from data_prep.shapes.surfaces import (
    Surface,
    arc,
    beam,
    box,
    cylinder,
    ellipsoid,
    lathe,
    loft,
    prism,
    ring,
    rod,
    slab,
    taper,
    tube,
)


def _lay_down_some(rng: np.random.Generator, shape: Shape, probability: float) -> None:
    """Lays some of the objects on their backs, as assets lie about."""
    if chance(rng, probability):
        shape.turn("x", -90)


def axe(rng: np.random.Generator) -> Shape:
    """A haft with a broad blade on one side or on both."""
    shape = Shape()
    length, thick = rng.uniform(1.2, 2.0), rng.uniform(0.035, 0.055)
    bend = rng.uniform(0, 0.1)
    along = np.linspace(0, 1, 7)
    path = np.stack([bend * np.sin(np.pi * along), length * along, 0 * along], axis=1)
    shape.add("handle", tube(path, thick))
    reach, root, edge = rng.uniform(0.35, 0.5), rng.uniform(0.1, 0.16), rng.uniform(0.25, 0.42)
    x = np.array([0, 0.35, 0.7, 0.9, 1]) * reach
    spread = np.array([root, 0.95 * root, 0.7 * edge, edge, 0.9 * edge])
    depth = np.array([0.12, 0.1, 0.06, 0.03, 0.01])
    blade = slab(x, -spread, spread * rng.uniform(0.6, 1), depth)
    double = chance(rng, 0.3)
    height = length - edge * 0.8
    for side in (1, -1)[: 1 + double]:
        shape.add("blades" if double else "blade", blade.scale(x=side).move(y=height))
    if not double:
        shape.add("blade", box(0.2, 1.6 * root, 0.13, (-0.06, height - 0.8 * root, 0)))
    shape.say("a double blade" if double else "a single blade")
    shape.say("a long handle" if length > 1.6 else "a short handle")
    if chance(rng, 0.4):
        shape.add("grip", cylinder(1.25 * thick, 0.3, (0.4 * bend, 0.05, 0), 8))
        shape.say("a grip")
    _lay_down_some(rng, shape, 0.25)
    return shape


def sword(rng: np.random.Generator) -> Shape:
    """A long blade above a guard, a grip and a pommel."""
    shape = Shape()
    blade, width = rng.uniform(1.3, 1.9), rng.uniform(0.1, 0.2)
    grip = rng.uniform(0.25, 0.45)
    curved = rng.uniform(0.1, 0.22) if chance(rng, 0.3) else 0.0
    along = np.array([0, 0.3, 0.6, 0.85, 0.94, 1])
    half = width / 2 * np.array([1, 0.95, 0.9, 0.8, 0.5, 0.02])
    middle = curved * along**2
    rings = [
        [
            (m - h, blade * a, 0),
            (m, blade * a, 0.025),
            (m + h, blade * a, 0),
            (m, blade * a, -0.025),
        ]
        for a, h, m in zip(along, half, middle, strict=True)
    ]
    shape.add("blade", loft(np.array(rings)).move(y=grip + 0.06))
    shape.add("grip", cylinder(0.04, grip, segments=10))
    guard, style = rng.uniform(0.2, 0.34), pick(rng, "bar", "bent", "disc")
    if style == "bar":
        shape.add("guard", box(2 * guard, 0.07, 0.09, (0, grip, 0)))
        shape.say("a straight guard")
    elif style == "bent":
        path = [
            (-guard, grip + 0.16, 0),
            (-0.5 * guard, grip + 0.03, 0),
            (0.5 * guard, grip + 0.03, 0),
            (guard, grip + 0.16, 0),
        ]
        shape.add("guard", tube(path, 0.045))
        shape.say("a bent guard")
    else:
        shape.add("guard", cylinder(0.7 * guard, 0.05, (0, grip, 0)))
        shape.say("a round guard")
    if chance(rng, 0.8):
        shape.add("pommel", ellipsoid(0.075, 0.075, 0.075, (0, -0.04, 0), 10))
        shape.say("a pommel")
    shape.say("a curved blade" if curved else "a straight blade")
    _lay_down_some(rng, shape, 0.25)
    return shape


def key(rng: np.random.Generator) -> Shape:
    """A bow (ring, disc or clover), a shaft and teeth on one side."""
    shape = Shape()
    length, thick = rng.uniform(0.8, 1.3), rng.uniform(0.045, 0.075)
    size, style = rng.uniform(0.24, 0.34), pick(rng, "ring", "square", "clover")
    shape.add("shaft", cylinder(thick, length, segments=10))
    if style == "ring":
        shape.add("bow", ring(size, 1.2 * thick, segments=18).turn("x", 90).move(y=length + size))
        shape.say("a round bow")
    elif style == "square":
        corners = np.array([(0, 0), (1, 1), (0, 2), (-1, 1)]) * 1.15 * size + (0, length)
        path = [(x, y, 0) for x, y in corners]
        shape.add("bow", *(rod(path[i], path[(i + 1) % 4], 1.1 * thick) for i in range(4)))
        shape.say("a square bow")
    else:
        for x, y in ((-0.6, 0.5), (0.6, 0.5), (0, 1.4)):
            loop = ring(0.5 * size, thick, segments=12).turn("x", 90)
            shape.add("bow", loop.move(x * size, length + y * size, 0))
        shape.say("a clover bow")
    if chance(rng, 0.4):
        shape.add("collar", cylinder(1.7 * thick, 0.08, (0, length - 0.14, 0), 10))
        shape.say("a collar")
    teeth = int(rng.integers(2, 5))
    for index in range(teeth):
        reach = rng.uniform(0.15, 0.3)
        place = ((reach + thick) / 2, 0.02 + index * 0.13, 0)
        shape.add("teeth", box(reach + thick, 0.08, 1.2 * thick, place))
    shape.say(f"{NUMBER_WORDS[teeth]} teeth")
    _lay_down_some(rng, shape, 0.4)
    return shape


def ladder(rng: np.random.Generator) -> Shape:
    """Two rails with rungs; straight and leaning, or a step ladder of two halves."""
    shape = Shape()
    length, width = rng.uniform(1.6, 2.6), rng.uniform(0.45, 0.65)
    thick, rungs = rng.uniform(0.05, 0.08), int(rng.integers(4, 10))
    narrow = rng.uniform(0.7, 1)
    flat = chance(rng, 0.4)

    def half() -> tuple[list[Surface], list[Surface]]:
        x, top = width / 2, narrow * width / 2
        rails = [beam((s * x, 0, 0), (s * top, length, 0), thick) for s in (-1, 1)]
        bars = []
        for y in (np.arange(rungs) + 0.6) / rungs * length:
            reach = x + (top - x) * y / length
            if flat:
                bars.append(box(2 * reach, 0.035, 2 * thick, (0, y, 0)))
            else:
                bars.append(rod((-reach, y, 0), (reach, y, 0), 0.4 * thick))
        return rails, bars

    rails, bars = half()
    if chance(rng, 0.4):
        lean = rng.uniform(12, 20)
        # The rear half only props up the front: it has one bar.
        for side, part, solids in (
            (-1, "rails", rails),
            (1, "rails", [*rails, bars[0]]),
            (-1, "rungs", bars),
        ):
            hinged = [s.move(y=-length).turn("x", side * lean).move(y=length) for s in solids]
            shape.add(part, *hinged)
        shape.say("two halves")
    else:
        lean = rng.uniform(0, 20)
        shape.add("rails", *(s.turn("x", -lean) for s in rails))
        shape.add("rungs", *(s.turn("x", -lean) for s in bars))
        shape.say("two rails")
    shape.say(f"{NUMBER_WORDS[rungs]} {'steps' if flat else 'rungs'}")
    return shape


def guitar(rng: np.random.Generator) -> Shape:
    """A waisted or horned body, a long neck and a head with pegs."""
    shape = Shape()
    electric = chance(rng, 0.4)
    body, depth = rng.uniform(0.85, 1.05), 0.1 if electric else rng.uniform(0.2, 0.28)
    wide, waist = rng.uniform(0.36, 0.44), rng.uniform(0.2, 0.28)
    along = np.array([0, 0.04, 0.12, 0.28, 0.45, 0.6, 0.76, 0.9, 0.97, 1])
    half = np.array([0.3, 0.7, 0.95, 1, 0.85, 0, 0.75, 0.72, 0.5, 0.25]) * wide
    half[5] = waist
    outline = slab(along * body, -half, half, depth).turn("z", 90)
    shape.add("body", outline)
    if electric:
        for side in (-1, 1):
            horn = prism([(0.1, 0.7), (0.36, 0.68), (0.34, 1.15), (0.24, 1.0)], depth)
            shape.add("body", horn.scale(side * wide / 0.4, body, 1))
        for y in (0.35, 0.6):
            shape.add("plate", box(0.24, 0.06, 0.03, (0, y * body, depth / 2)))
        shape.say("a flat body", "two horns")
    else:
        hole = lathe([(0.13, 0), (0.12, 0.02)], segments=16).turn("x", 90)
        shape.add("sound hole", hole.move(0, 0.66 * body, depth / 2))
        shape.say("a sound hole", "a hollow body")
    neck = rng.uniform(0.8, 1.1)
    top = body + neck
    shape.add("neck", taper(0.13, 0.07, 0.1, 0.05, neck + 0.25, (0, body - 0.25, depth / 2 - 0.01)))
    shape.add("bridge", box(0.26, 0.05, 0.04, (0, 0.2 * body, depth / 2 + 0.01)))
    shape.add("head", taper(0.12, 0.05, 0.2, 0.04, 0.28, (0, top, depth / 2 - 0.02)))
    for side in (-1, 1):
        for y in (0.06, 0.14, 0.22):
            shape.add("pegs", box(0.08, 0.035, 0.035, (side * 0.12, top + y, depth / 2 - 0.02)))
    shape.say("a long neck")
    _lay_down_some(rng, shape, 0.25)
    return shape


def umbrella(rng: np.random.Generator) -> Shape:
    """An open canopy on a shaft with a hook, a knob or a foot."""
    shape = Shape()
    panels, radius = int(rng.integers(6, 10)), rng.uniform(0.65, 0.9)
    rise, length = rng.uniform(0.25, 0.45), rng.uniform(1.25, 1.7)
    polar = np.radians(np.linspace(0, 90, 5))
    around = 2 * panels
    angle = 2 * np.pi * np.arange(around) / around
    # The cloth hangs between the ribs: every other meridian is drawn in and its hem raised.
    slack = np.where(np.arange(around) % 2, 0.9, 1.0)
    rings = np.empty((9, around, 3))
    for index, p in enumerate([*polar, *polar[-2::-1]]):
        inner = 0.97 if index > 4 else 1.0
        across = radius * np.cos(p) * (slack * np.sin(np.pi / 2 - p) + 1 - np.sin(np.pi / 2 - p))
        rings[index, :, 0] = inner * across * np.cos(angle)
        rings[index, :, 1] = inner * rise * np.sin(p) + 0.12 * (1 - slack) * np.cos(p) * 10 * rise
        rings[index, :, 2] = inner * across * np.sin(angle)
    canopy = loft(np.concatenate([rings, rings[:1]]), caps=False)
    high = length - 0.9 * rise
    shape.add("canopy", canopy.move(y=high))
    shape.add("shaft", cylinder(0.022, length + 0.12, segments=8))
    style = pick(rng, "hook", "knob", "foot")
    if style == "hook":
        bend = arc((0.11, 0), 0.11, 180, 380, 9)
        shape.add("handle", tube([(0, 0.2, 0), *((x, y, 0) for x, y in bend)], 0.04))
        shape.say("a hooked handle")
    elif style == "knob":
        shape.add(
            "handle", lathe([(0.03, 0.22), (0.05, 0.1), (0.06, 0.0), (0.03, -0.04)], segments=10)
        )
        shape.say("a straight handle")
    else:
        shape.add("foot", cylinder(rng.uniform(0.18, 0.26), 0.08))
        shape.say("a round foot")
    shape.say(count_of(panels, "panel"))
    return shape
