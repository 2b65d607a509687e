"""Primitive surfaces that every shape is made of: boxes, turned profiles, tubes, slabs.

y is up; lengths have no unit, since the finished object is scaled at random.  All primitives are
lofts: rings of equally many points, joined one to the next.
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float, Int

from mixcon3d_jax.assets.triangles import triangle_areas

Point = Sequence[float]


@dataclasses.dataclass(frozen=True)
class Surface:
    """A triangle mesh without colour."""

    vertices: Float[np.ndarray, "vertices 3"]
    faces: Int[np.ndarray, "faces 3"]

    def move(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> "Surface":
        """The surface shifted."""
        return Surface(self.vertices + np.array([x, y, z]), self.faces)

    def turn(self, axis: str, degrees: float) -> "Surface":
        """The surface turned about the `axis` ("x", "y" or "z") through the origin."""
        return Surface(self.vertices @ rotation(axis, degrees).T, self.faces)

    def scale(self, x: float = 1.0, y: float = 1.0, z: float = 1.0) -> "Surface":
        """The surface stretched from the origin; a negative factor mirrors it."""
        faces = self.faces if x * y * z > 0 else self.faces[:, ::-1]
        return Surface(self.vertices * (x, y, z), faces)


def rotation(axis: str, degrees: float) -> Float[np.ndarray, "3 3"]:
    """The right-handed rotation about a coordinate axis."""
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = cosine
    matrix[first, second], matrix[second, first] = -sine, sine
    return matrix


def join(surfaces: Iterable[Surface]) -> Surface:
    """All `surfaces` as one, without the faces that have no area."""
    surfaces = list(surfaces)
    offsets = np.cumsum([0, *(len(surface.vertices) for surface in surfaces)])
    vertices = np.concatenate([surface.vertices for surface in surfaces])
    faces = np.concatenate(
        [surface.faces + offset for surface, offset in zip(surfaces, offsets, strict=False)]
    )
    area = triangle_areas(vertices[faces])
    return Surface(vertices, faces[area > 1e-9 * area.max()])


def loft(
    rings: Float[np.ndarray, "rings around 3"], closed: bool = False, caps: bool = True
) -> Surface:
    """Joins each ring of points to the next.

    Args:
      rings: where the ends get caps, these rings must be star-shaped about their mean.
      closed: whether the last ring joins the first one.
      caps: whether both ends of what is not `closed` are filled; without them it is a bare wall.
    """
    rings = np.asarray(rings, float)
    vertices = rings.reshape(-1, 3)
    caps = caps and not closed
    if caps:
        vertices = np.concatenate([vertices, rings[[0, -1]].mean(axis=1)])
    faces = _loft_faces(len(rings), rings.shape[1], closed, caps)
    middle = vertices.mean(axis=0)
    a, b, c = (vertices[faces[:, corner]] - middle for corner in range(3))
    volume = np.sum(np.cross(a, b) * c)
    return Surface(vertices, faces if volume > 0 else faces[:, ::-1])


@functools.lru_cache(maxsize=256)
def _loft_faces(rings: int, around: int, closed: bool, caps: bool) -> Int[np.ndarray, "faces 3"]:
    here = np.arange(around)
    after = (here + 1) % around
    quads = []
    for ring in range(rings if closed else rings - 1):
        low, high = ring * around, (ring + 1) % rings * around
        quads.append(np.stack([low + here, low + after, high + after], axis=1))
        quads.append(np.stack([low + here, high + after, high + here], axis=1))
    if caps:
        start = np.full(around, rings * around)
        last = (rings - 1) * around
        quads.append(np.stack([after, here, start], axis=1))
        quads.append(np.stack([last + here, last + after, start + 1], axis=1))
    faces = np.concatenate(quads)
    faces.flags.writeable = False
    return faces


def box(width: float, height: float, depth: float, at: Point = (0, 0, 0)) -> Surface:
    """A box of `width` along x, `height` along y and `depth` along z; `at`: its bottom's centre."""
    return taper(width, depth, width, depth, height, at)


def taper(
    width: float, depth: float, top_width: float, top_depth: float, height: float, at: Point
) -> Surface:
    """A box whose top has another size than its bottom; `at`: the bottom's centre."""
    corners = np.array([[-1, 0, -1], [1, 0, -1], [1, 0, 1], [-1, 0, 1]]) / 2
    bottom = corners * (width, 0, depth)
    top = corners * (top_width, 0, top_depth) + (0, height, 0)
    return loft(np.stack([bottom, top]) + np.asarray(at))


def lathe(
    profile: Sequence[Sequence[float]],
    at: Point = (0, 0, 0),
    segments: int = 16,
    caps: bool = True,
) -> Surface:
    """Turns a `profile` of (radius, y) pairs about the y axis; `caps` fills its ends with discs."""
    radius, height = np.asarray(profile, float).T
    angle = 2 * np.pi * np.arange(segments) / segments
    rings = np.empty((len(radius), segments, 3))
    rings[..., 0] = radius[:, None] * np.cos(angle)
    rings[..., 1] = height[:, None]
    rings[..., 2] = radius[:, None] * np.sin(angle)
    return loft(rings + np.asarray(at), caps=caps)


def cylinder(radius: float, height: float, at: Point = (0, 0, 0), segments: int = 16) -> Surface:
    """An upright cylinder; `at`: its bottom's centre."""
    return lathe([(radius, 0), (radius, height)], at, segments)


def ellipsoid(
    radius_x: float, radius_y: float, radius_z: float, at: Point = (0, 0, 0), segments: int = 12
) -> Surface:
    """An ellipsoid; `at`: its centre."""
    polar = np.linspace(0, np.pi, segments // 2 + 1)
    sphere = lathe(np.stack([np.sin(polar), -np.cos(polar)], axis=1), segments=segments)
    return sphere.scale(radius_x, radius_y, radius_z).move(*at)


def tube(
    path: Sequence[Point], radius: float | Sequence[float], segments: int = 8, closed: bool = False
) -> Surface:
    """A round tube along `path`; `radius` is one number or one a point; `closed`: a ring."""
    points = np.asarray(path, float)
    if closed:
        tangents = np.roll(points, -1, axis=0) - np.roll(points, 1, axis=0)
    else:
        tangents = np.gradient(points, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    side = np.eye(3)[np.argmin(np.abs(tangents[0]))]
    angle = 2 * np.pi * np.arange(segments) / segments
    rings = np.empty((len(points), segments, 3))
    radii = np.broadcast_to(radius, len(points))
    for index, (point, tangent) in enumerate(zip(points, tangents, strict=True)):
        side = side - tangent * (side @ tangent)
        side /= np.linalg.norm(side)
        across = np.cross(tangent, side)
        circle = np.outer(np.cos(angle), side) + np.outer(np.sin(angle), across)
        rings[index] = point + radii[index] * circle
    return loft(rings, closed)


def rod(start: Point, end: Point, radius: float, segments: int = 8) -> Surface:
    """A straight round bar."""
    return tube([start, end], radius, segments)


def beam(start: Point, end: Point, width: float) -> Surface:
    """A straight square bar."""
    return tube([start, end], width / np.sqrt(2), 4)


def ring(
    radius: float, thickness: float, at: Point = (0, 0, 0), segments: int = 16, around: int = 8
) -> Surface:
    """A torus about the y axis; `radius` of its middle line, `thickness` the tube's radius."""
    angle = 2 * np.pi * np.arange(segments) / segments
    path = np.stack([radius * np.cos(angle), 0 * angle, radius * np.sin(angle)], axis=1)
    return tube(path + np.asarray(at), thickness, around, closed=True)


def slab(
    x: Sequence[float],
    lower: Sequence[float],
    upper: Sequence[float],
    depth: float | Sequence[float],
) -> Surface:
    """What lies between the curves `lower` and `upper` (y over x), `depth` thick about z = 0."""
    x, lower, upper = (np.asarray(values, float) for values in (x, lower, upper))
    half = np.broadcast_to(np.asarray(depth, float) / 2, x.shape)
    corners = [(lower, -half), (lower, half), (upper, half), (upper, -half)]
    return loft(np.stack([np.stack([x, y, z], axis=1) for y, z in corners], axis=1))


def prism(outline: Sequence[Sequence[float]], depth: float, at: Point = (0, 0, 0)) -> Surface:
    """A star-shaped `outline` of (x, y) pairs, `depth` thick about z = 0, moved to `at`."""
    outline = np.asarray(outline, float)
    front = np.column_stack([outline, np.full(len(outline), depth / 2)])
    return loft(np.stack([front, front * (1, 1, -1)]) + np.asarray(at))


def arc(
    centre: Sequence[float], radius: float, start: float, end: float, count: int = 8
) -> Float[np.ndarray, "count 2"]:
    """Points of a circular arc in the plane; angles in degrees, counterclockwise from +x."""
    angle = np.radians(np.linspace(start, end, count))
    return np.asarray(centre) + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
