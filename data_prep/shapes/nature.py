"""Plants, mushrooms and fish."""

import numpy as np

from data_prep.shapes.parts import NUMBER_WORDS, Shape, chance, count_of, pick
from data_prep.shapes.surfaces import Surface, arc, ellipsoid, lathe, loft, prism, tube


def tree(rng: np.random.Generator) -> Shape:
    """A trunk under a crown: conifer, broad-leaved, ball-shaped, or palm."""
    shape = Shape()
    kind = pick(rng, "conifer", "broad", "ball", "palm")
    trunk, radius = rng.uniform(0.6, 1.1), rng.uniform(0.08, 0.14)
    if kind == "conifer":
        tiers, wide = int(rng.integers(2, 6)), rng.uniform(0.55, 0.8)
        shape.add("trunk", lathe([(radius, 0), (0.8 * radius, 0.6 * trunk)], segments=10))
        y, high = 0.5 * trunk, rng.uniform(0.6, 0.8)
        for tier in range(tiers):
            size = wide * (1 - 0.65 * tier / tiers)
            shape.add("crown", lathe([(0.3 * size, 0.03), (size, 0), (0, high)], (0, y, 0), 14))
            y += 0.5 * high
        shape.say("a pointed crown", f"{NUMBER_WORDS[tiers]} tiers")
    elif kind == "palm":
        _palm(rng, shape, rng.uniform(1.6, 2.2), 0.8 * radius)
    else:
        shape.add(
            "trunk",
            lathe([(1.3 * radius, 0), (radius, 0.2), (0.8 * radius, trunk + 0.3)], segments=10),
        )
        size = rng.uniform(0.45, 0.65)
        if kind == "ball":
            tall = size * rng.uniform(0.9, 1.6)
            shape.add("crown", ellipsoid(size, tall, size, (0, trunk + 0.85 * tall, 0), 16))
            shape.say("a round crown" if tall < 1.2 * size else "an oval crown")
        else:
            shape.add("crown", *_blobs(rng, int(rng.integers(4, 8)), size, trunk + 0.6 * size))
            for angle in rng.uniform(0, 2 * np.pi, 2):
                tip = (0.5 * size * np.cos(angle), trunk + 0.3, 0.5 * size * np.sin(angle))
                shape.add("trunk", tube([(0, 0.6 * trunk, 0), tip], [0.6 * radius, 0.03], 6))
            shape.say("a bushy crown", "branches")
    shape.say("a thick trunk" if radius > 0.115 else "a thin trunk")
    return shape


def _palm(rng: np.random.Generator, shape: Shape, height: float, radius: float) -> None:
    bend = rng.uniform(0, 0.5)
    along = np.linspace(0, 1, 7)
    path = np.stack([bend * along**2, height * along, 0 * along], axis=1)
    shape.add("trunk", tube(path, radius * (1.2 - 0.5 * along)))
    leaves = int(rng.integers(6, 10))
    reach, droop = rng.uniform(0.7, 1.0), rng.uniform(0.3, 0.6)
    for turn in np.arange(leaves) * 360 / leaves:
        spine = np.linspace(0, 1, 6)
        y = 0.9 * spine * droop - 1.6 * droop * spine**2
        half = 0.17 * np.array([0.3, 0.9, 1, 0.85, 0.6, 0.05])
        left = np.stack([reach * spine, y - 0.3 * half, -half], axis=1)
        right = left * (1, 1, -1)
        ridge = np.stack([reach * spine, y + 0.02, 0 * spine], axis=1)
        leaf = loft(np.stack([left, ridge, right, ridge - (0, 0.02, 0)], axis=1))
        shape.add("leaves", leaf.turn("y", turn).move(*path[-1]))
    shape.say("long leaves", "a bent trunk" if bend > 0.2 else "a straight trunk")


def _blobs(rng: np.random.Generator, count: int, size: float, y: float) -> list[Surface]:
    """Overlapping ellipsoids about a middle one at height `y`."""
    blobs = [ellipsoid(size, 0.85 * size, size, (0, y, 0), 12)]
    for angle in 2 * np.pi * np.arange(count) / count + rng.uniform(0, 6):
        part = size * rng.uniform(0.5, 0.75)
        distance = size * rng.uniform(0.5, 0.8)
        place = (
            distance * np.cos(angle),
            y + size * rng.uniform(-0.2, 0.55),
            distance * np.sin(angle),
        )
        blobs.append(ellipsoid(part, 0.9 * part, part, place, 10))
    return blobs


def bush(rng: np.random.Generator) -> Shape:
    """A low mound of foliage on the ground, without a trunk."""
    shape = Shape()
    wide = rng.uniform(0.5, 0.7)
    count = int(rng.integers(6, 10))
    for index, angle in enumerate(2 * np.pi * np.arange(count) / count + rng.uniform(0, 6)):
        size = wide * rng.uniform(0.45, 0.65)
        distance = wide * rng.uniform(0.5, 0.9)
        place = (distance * np.cos(angle), 0.75 * size, distance * np.sin(angle))
        shape.add("leaves", ellipsoid(size, size * rng.uniform(0.75, 1.1), size, place, 10))
        if index % 2:
            tip = ellipsoid(*[0.4 * size] * 3, place, 8)
            shape.add("tips", tip.move(y=0.9 * size))
    high = wide * rng.uniform(0.6, 0.85)
    shape.add("leaves", ellipsoid(0.8 * wide, high, 0.8 * wide, (0, high, 0), 12))
    if chance(rng, 0.5):
        berries = int(rng.integers(8, 16))
        azimuth, polar = rng.uniform(0, 2 * np.pi, berries), rng.uniform(0.1, 1.0, berries)
        for a, p in zip(azimuth, polar, strict=True):
            direction = np.array([np.sin(p) * np.cos(a), np.cos(p), np.sin(p) * np.sin(a)])
            place = direction * (0.8 * wide, high, 0.8 * wide) + (0, high, 0)
            shape.add("berries", ellipsoid(0.06, 0.06, 0.06, place, 6))
        shape.say("round berries")
    shape.say("dense leaves", "no trunk")
    return shape


def cactus(rng: np.random.Generator) -> Shape:
    """A ribbed column with upward arms, sometimes in a pot."""
    shape = Shape()
    height, radius = rng.uniform(1.0, 1.6), rng.uniform(0.15, 0.22)
    base = 0.0
    if chance(rng, 0.4):
        base, wide = rng.uniform(0.25, 0.35), radius * rng.uniform(1.4, 1.8)
        shape.add(
            "pot",
            lathe([(0.75 * wide, 0), (wide, base), (1.1 * wide, base), (1.1 * wide, base + 0.06)]),
        )
        shape.say("a pot")
    polar = np.linspace(0, 90, 5)
    profile = [(0.85 * radius, 0), (radius, 0.3 * height)]
    profile += [
        (radius * np.cos(p), height - radius + radius * np.sin(p)) for p in np.radians(polar)
    ]
    body = lathe(profile, (0, base, 0), 16)
    ribbed = body.vertices * np.where(np.arange(len(body.vertices)) % 2, 1, 0.86)[:, None] ** (
        1,
        0,
        1,
    )
    shape.add("stem", Surface(ribbed, body.faces))
    arms = int(rng.integers(1, 5))
    start = rng.uniform(0, 2 * np.pi)
    for index in range(arms):
        angle = start + 2 * np.pi * index / arms + rng.uniform(-0.3, 0.3)
        thick, reach = radius * rng.uniform(0.5, 0.7), radius * rng.uniform(2, 2.8)
        low, up = base + height * rng.uniform(0.3, 0.55), height * rng.uniform(0.2, 0.4)
        elbow = arc((reach - 0.15, low + 0.15), 0.15, -90, 0, 4)
        path = [(0, low), *elbow, (reach, low + up), (reach, low + up + thick)]
        points = [(x * np.cos(angle), y, x * np.sin(angle)) for x, y in path]
        shape.add("arms", tube(points, [*[thick] * 6, 0.3 * thick], 10))
    shape.say(count_of(arms, "arm"))
    if chance(rng, 0.4):
        shape.add(
            "flower", ellipsoid(0.7 * radius, 0.5 * radius, 0.7 * radius, (0, base + height, 0), 10)
        )
        shape.say("a flower on top")
    return shape


def mushroom(rng: np.random.Generator) -> Shape:
    """One to three stems, each under a cap."""
    shape = Shape()
    number = int(rng.choice([1, 1, 2, 3]))
    domed = chance(rng, 0.6)
    spotted = chance(rng, 0.5)
    for index in range(number):
        size = 1.0 if index == 0 else rng.uniform(0.45, 0.7)
        angle = rng.uniform(0, 2 * np.pi) if index < 2 else angle + rng.uniform(1.5, 4)
        x, z = (0, 0) if index == 0 else (0.55 * np.cos(angle), 0.55 * np.sin(angle))
        height, radius = size * rng.uniform(0.45, 0.8), size * rng.uniform(0.09, 0.15)
        cap, rise = size * rng.uniform(0.38, 0.55), size * rng.uniform(0.25, 0.4)
        stem = [(1.4 * radius, 0), (radius, 0.3 * height), (0.9 * radius, height)]
        shape.add("stems" if number > 1 else "stem", lathe(stem, (x, 0, z), 10))
        polar = np.radians(np.linspace(0, 90, 6))
        power = 1.0 if domed else 2.2
        dome = np.stack([cap * np.cos(polar), rise * np.sin(polar) ** power], axis=1)
        profile = [(0.9 * radius, 0.15 * rise), *dome]
        shape.add("caps" if number > 1 else "cap", lathe(profile, (x, height - 0.1 * rise, z), 16))
        if spotted:
            for spot in range(7):
                turn = 2 * np.pi * spot / 3.5 + index
                p = np.radians(25 + 40 * (spot % 2)) if spot < 6 else np.pi / 2
                across = cap * np.cos(p)
                y = height - 0.1 * rise + rise * np.sin(p) ** power
                place = (x + across * np.cos(turn), y, z + across * np.sin(turn))
                shape.add("spots", ellipsoid(*[0.13 * cap] * 3, place, 6))
    if spotted:
        shape.say("spots")
    noun = "cap" if number == 1 else "caps"
    shape.say(f"{'a ' * (number == 1)}{'round' if domed else 'pointed'} {noun}")
    if number > 1:
        shape.say(count_of(number, "stem"))
    return shape


def fish(rng: np.random.Generator) -> Shape:
    """A flat body with fins, swimming along +x."""
    shape = Shape()
    length, height = 1.6, rng.uniform(0.25, 0.6)
    thick = height * rng.uniform(0.35, 0.65)
    place = np.array([0, 0.06, 0.2, 0.45, 0.7, 0.88, 1.0])
    size = np.array([0.03, 0.35, 0.75, 1.0, 0.65, 0.28, 0.15])
    angle = 2 * np.pi * np.arange(12) / 12
    rings = np.empty((len(place), 12, 3))
    rings[..., 0] = length * (0.5 - place)[:, None]
    rings[..., 1] = (height * size)[:, None] * np.sin(angle)
    rings[..., 2] = (thick * size)[:, None] * np.cos(angle)
    shape.add("body", loft(rings))
    tail, long = height * rng.uniform(0.6, 1.0), rng.uniform(0.3, 0.5)
    back = -length / 2
    for side in (-1, 1):
        outline = [(back + 0.06, 0), (back - long, side * tail), (back - 0.5 * long, 0)]
        shape.add("fins", prism(outline, 0.04))
    start, end = 0.3 * rng.uniform(0.3, 1), -rng.uniform(0.25, 0.45)
    rise = height + rng.uniform(0.12, 0.3)
    ridge = [(start, 0.8 * height), (end, rise), (end - 0.1, 0.4 * height)]
    shape.add("fins", prism(ridge, 0.04))
    if chance(rng, 0.6):
        shape.add(
            "fins", prism([(0.1, -0.8 * height), (-0.25, -rise), (-0.3, -0.5 * height)], 0.04)
        )
    for side in (-1, 1):
        flap = prism([(0.15, 0), (-0.2, 0.15), (-0.25, -0.12)], 0.03)
        shape.add("fins", flap.turn("y", side * 35).move(0.05, -0.15 * height, side * 0.95 * thick))
        eye = (0.33 * length, 0.25 * height, side * 0.66 * thick)
        shape.add("eyes", ellipsoid(0.06, 0.06, 0.05, eye, 8))
    if chance(rng, 0.35):
        for at in rng.uniform(0.3, 0.6) + np.array([0, 0.2]):
            girth = np.interp(at, place, size) * 1.04
            band = lathe([(1, -0.05), (1, 0.05)], segments=12, caps=False).turn("z", 90)
            band = band.scale(1, height * girth, thick * girth)
            shape.add("stripes", band.move(length * (0.5 - at), 0, 0))
        shape.say("two stripes")
    shape.say("a tall body" if height > 0.45 else "a slim body", "a forked tail")
    return shape
