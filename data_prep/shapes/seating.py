"""Chairs, armchairs, stools, sofas and beds.  The front looks along +z."""

import numpy as np

from data_prep.shapes.parts import (
    Shape,
    chance,
    count_of,
    four_legs,
    pedestal,
    pick,
    spread_legs,
)
from data_prep.shapes.surfaces import (
    Surface,
    arc,
    beam,
    box,
    cylinder,
    ellipsoid,
    prism,
    ring,
    rod,
    taper,
    tube,
)


def chair(rng: np.random.Generator) -> Shape:
    """A seat with a back and without arms."""
    shape = Shape()
    width, depth = rng.uniform(0.4, 0.6), rng.uniform(0.4, 0.55)
    seat, thickness = rng.uniform(0.36, 0.55), rng.uniform(0.03, 0.08)
    height = rng.uniform(0.4, 0.8)
    shape.add("seat", box(width, thickness, depth, (0, seat, 0)))
    if chance(rng, 0.25):
        shape.add("legs", *_swivel_base(rng, seat))
        shape.say("a swivel base")
    else:
        leg = rng.uniform(0.035, 0.06)
        shape.add("legs", *four_legs(rng, width, depth, seat, leg))
        if chance(rng, 0.3):
            x, z, y = width / 2 - leg, depth / 2 - leg, rng.uniform(0.25, 0.5) * seat
            shape.add("legs", *(beam((s * x, y, -z), (s * x, y, z), 0.025) for s in (-1, 1)))
        shape.say("four legs")
    lean = rng.uniform(-14, 0)
    back = _chair_back(rng, shape, width, height)
    shape.add(
        "back",
        *(part.turn("x", lean).move(0, seat + thickness, 0.025 - depth / 2) for part in back),
    )
    shape.say("a high back" if height > 0.6 else "a low back" if height < 0.48 else "a back")
    return shape


def _chair_back(
    rng: np.random.Generator, shape: Shape, width: float, height: float
) -> list[Surface]:
    thick = rng.uniform(0.025, 0.05)
    posts = [box(0.045, height, thick, (s * (width / 2 - 0.025), 0, 0)) for s in (-1, 1)]
    style = pick(rng, "panel", "raised", "round", "slats", "rails")
    if style == "panel":
        return [taper(width, thick, rng.uniform(0.7, 1) * width, thick, height, (0, 0, 0))]
    if style == "raised":
        start = rng.uniform(0.3, 0.5) * height
        return [*posts, box(width, height - start, thick, (0, start, 0))]
    if style == "round":
        outline = [(-width / 2, 0), (width / 2, 0)]
        top = arc((0, 0), 1, 0, 180, 12) * (width / 2, min(height * 0.6, width / 2))
        outline = np.concatenate([outline, top + np.array([0, height - top[:, 1].max()])])
        shape.say("a rounded back")
        return [prism(outline, thick)]
    shape.say("a slatted back")
    if style == "slats":
        bars = np.linspace(-0.5, 0.5, rng.integers(4, 7))[1:-1] * width
        slats = [box(0.03, height, 0.6 * thick, (x, 0, 0)) for x in bars]
        return [*posts, *slats, box(width, 0.07, thick, (0, height - 0.07, 0))]
    bars = np.linspace(0.25, 1, rng.integers(2, 5)) * height - 0.07
    return [*posts, *(box(width, 0.07, 0.7 * thick, (0, y, 0)) for y in bars)]


def _swivel_base(rng: np.random.Generator, height: float) -> list[Surface]:
    reach, feet = rng.uniform(0.22, 0.3), int(rng.integers(4, 6))
    parts = [cylinder(0.035, height - 0.06, (0, 0.06, 0), 10)]
    for angle in 2 * np.pi * np.arange(feet) / feet:
        x, z = reach * np.cos(angle), reach * np.sin(angle)
        parts.append(rod((0, 0.1, 0), (x, 0.06, z), 0.025, 6))
        parts.append(ellipsoid(0.03, 0.03, 0.03, (x, 0.03, z), 8))
    return parts


def armchair(rng: np.random.Generator) -> Shape:
    """One upholstered seat between two arms."""
    shape = Shape()
    width, depth = rng.uniform(0.5, 0.65), rng.uniform(0.55, 0.7)
    _upholstery(rng, shape, width, depth, seats=1)
    return shape


def sofa(rng: np.random.Generator) -> Shape:
    """A wide upholstered seat for two to four between two arms."""
    shape = Shape()
    seats = int(rng.integers(2, 5))
    width, depth = seats * rng.uniform(0.5, 0.65), rng.uniform(0.55, 0.75)
    lift = _upholstery(rng, shape, width, depth, seats)
    if chance(rng, 0.25):
        side, length = rng.choice([-1, 1]), rng.uniform(0.5, 0.8)
        place = (side * (width / 2 - width / seats / 2), lift, depth / 2 + length / 2)
        shape.add("base", box(width / seats, rng.uniform(0.26, 0.36), length, place))
        shape.say("a long corner seat")
    return shape


def _upholstery(
    rng: np.random.Generator, shape: Shape, width: float, depth: float, seats: int
) -> float:
    """Base, cushions, back and arms about a seat of `width`; returns the height of the feet."""
    lift = rng.uniform(0.03, 0.2)
    base, arm = rng.uniform(0.14, 0.28), rng.uniform(0.08, 0.22)
    arm_height = base + rng.uniform(0.16, 0.32)
    back_height, back = base + rng.uniform(0.4, 0.65), rng.uniform(0.1, 0.22)
    outer = width + 2 * arm
    shape.add("base", box(width, base, depth, (0, lift, 0)))
    cushion = width / seats
    for index in range(seats):
        x = (index - (seats - 1) / 2) * cushion
        shape.add(
            "cushions", box(0.96 * cushion, rng.uniform(0.08, 0.13), depth, (x, lift + base, 0.01))
        )
    panel = taper(outer, back, rng.uniform(0.9, 1) * outer, 0.7 * back, back_height, (0, 0, 0))
    shape.add("back", panel.turn("x", rng.uniform(-10, 0)).move(0, lift, -depth / 2 - back / 4))
    rounded = chance(rng, 0.5)
    for side in (-1, 1):
        x = side * (width + arm) / 2
        shape.add("arms", box(arm, arm_height, depth, (x, lift, 0)))
        if rounded:
            roll = cylinder(0.6 * arm, depth, segments=12).turn("x", 90)
            shape.add("arms", roll.move(x, lift + arm_height, -depth / 2))
        for z in (-1, 1):
            shape.add("feet", box(0.06, lift, 0.06, (x, 0, z * (depth / 2 - 0.06))))
    shape.say("two rounded arms" if rounded else "two arms")
    shape.say("one seat" if seats == 1 else count_of(seats, "seat"))
    shape.say("a high back" if back_height > 0.75 else "a soft back")
    return lift


def stool(rng: np.random.Generator) -> Shape:
    """A small seat without a back."""
    shape = Shape()
    radius, height = rng.uniform(0.16, 0.22), rng.uniform(0.4, 0.85)
    thickness = rng.uniform(0.03, 0.09)
    if chance(rng, 0.65):
        shape.add("seat", cylinder(radius, thickness, (0, height, 0), 18))
        shape.say("a round seat")
    else:
        shape.add("seat", box(2 * radius, thickness, 1.8 * radius, (0, height, 0)))
        shape.say("a square seat")
    if chance(rng, 0.25):
        shape.add("foot", *pedestal(rng.uniform(0.8, 1.1) * radius, height, 0.035))
        shape.say("a single foot")
    else:
        number = int(rng.integers(3, 5))
        reach = radius * rng.uniform(0.85, 1.2)
        shape.add("legs", *spread_legs(number, reach, 0.75 * radius, height, 0.022))
        shape.say(count_of(number, "leg"))
    if height > 0.6:
        shape.add("footrest", ring(0.9 * radius, 0.014, (0, 0.35 * height, 0), 16, 6))
        shape.say("a footrest")
    return shape


def bed(rng: np.random.Generator) -> Shape:
    """A mattress on a frame, with a headboard and pillows."""
    shape = Shape()
    width, length = rng.uniform(0.85, 1.8), rng.uniform(1.8, 2.1)
    lift, frame, mattress = rng.uniform(0.08, 0.3), rng.uniform(0.1, 0.2), rng.uniform(0.12, 0.25)
    top = lift + frame + mattress
    shape.add("frame", box(width, frame, length, (0, lift, 0)))
    shape.add("mattress", box(0.95 * width, mattress, 0.97 * length, (0, lift + frame, 0)))
    shape.add("frame", *four_legs(rng, width, length, lift, 0.08))
    _bed_board(rng, shape, width, rng.uniform(0.3, 0.7) + top, -length / 2, "headboard")
    shape.say("a headboard")
    if chance(rng, 0.4):
        _bed_board(rng, shape, width, rng.uniform(0, 0.2) + top, length / 2, "footboard")
        shape.say("a footboard")
    pillows = 2 if width > 1.25 else 1
    for index in range(pillows):
        x = (index - (pillows - 1) / 2) * 0.46 * width
        size = (0.38 if pillows == 1 else 0.2) * width
        shape.add("pillows", ellipsoid(size, 0.09, 0.2, (x, top + 0.05, 0.3 - length / 2)))
    shape.say(count_of(pillows, "pillow"))
    if chance(rng, 0.75):
        cover = rng.uniform(0.5, 0.7) * length
        place = (0, top - 0.8 * mattress, length / 2 - cover / 2)
        shape.add("blanket", box(1.01 * width, 0.8 * mattress + 0.05, cover, place))
        shape.say("a blanket")
    return shape


def _bed_board(
    rng: np.random.Generator, shape: Shape, width: float, height: float, z: float, part: str
) -> None:
    style = pick(rng, "panel", "bars", "round")
    if style == "panel":
        shape.add(part, box(1.03 * width, height, 0.07, (0, 0, z)))
        return
    if style == "round":
        top = arc((0, 0), 1, 0, 180, 12) * (width / 2, 0.3 * height) + (0, 0.7 * height)
        outline = np.concatenate([[(-width / 2, 0), (width / 2, 0)], top])
        shape.add(part, prism(outline, 0.07, (0, 0, z)))
        return
    x = width / 2
    frame = [(-x, 0, z), (-x, height, z), (x, height, z), (x, 0, z)]
    shape.add(part, tube(frame[:2], 0.04), tube(frame[1:3], 0.04), tube(frame[2:], 0.04))
    for bar in np.linspace(-x, x, rng.integers(6, 10))[1:-1]:
        shape.add(part, rod((bar, 0.2, z), (bar, height, z), 0.018, 6))
