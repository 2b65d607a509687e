"""Coloured points on an asset's surface."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from mixcon3d_jax.assets.asset import Asset, Cloud, Part
from mixcon3d_jax.assets.color import linear_to_bytes, surface_color, surface_is_solid
from mixcon3d_jax.assets.triangles import triangle_areas

Points = Float32[np.ndarray, "points 3"]
Colors = UInt8[np.ndarray, "points 3"]

_TRIALS = 50


def sample_points(
    asset: Asset, num_points: int, rng: np.random.Generator
) -> tuple[Points, Colors, list[str]]:
    """Draws points uniformly by area, or from the cloud.

    Args:
      asset: what `load_asset` returns.
      num_points: how many points to draw.
      rng: the only source of randomness.

    Returns:
      Positions in the asset's own units, y-up, in random order (grouping keeps the first points
      of a neighbourhood, so their order must mean nothing); their sRGB colours; and warnings: one
      when a cloud has fewer points than asked for and is drawn from with replacement.
    """
    if asset.cloud is not None:
        return _from_cloud(asset.cloud, num_points, rng)
    areas = [triangle_areas(part.triangles) for part in asset.parts]
    drawn: list[tuple[Points, Colors]] = []
    missing = num_points
    # Points in the holes of cut-out textures are drawn anew, which keeps the rest uniform; an
    # asset that is nearly all hole is taken as if it had none.
    for trial in range(_TRIALS):
        for solid, points, colors in _draw(asset, areas, missing, rng):
            kept = solid | (trial == _TRIALS - 1)
            drawn.append((points[kept], colors[kept]))
        missing = num_points - sum(len(points) for points, _ in drawn)
        if not missing:
            break
    order = rng.permutation(num_points)
    points = np.concatenate([points for points, _ in drawn])[order]
    colors = np.concatenate([colors for _, colors in drawn])[order]
    return points, colors, []


def _draw(
    asset: Asset, areas: list[np.ndarray], count: int, rng: np.random.Generator
) -> Iterator[tuple[Bool[np.ndarray, "points"], Points, Colors]]:
    """`count` points over all parts: whether there is something, positions, colours."""
    totals = np.array([part_areas.sum() for part_areas in areas])
    counts = rng.multinomial(count, totals / totals.sum())
    for part, part_areas, part_count in zip(asset.parts, areas, counts, strict=True):
        if part_count:
            yield _on_part(part, part_areas, part_count, rng)


def _on_part(
    part: Part, areas: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[Bool[np.ndarray, "points"], Points, Colors]:
    cumulative = np.cumsum(areas)
    face = np.searchsorted(cumulative, rng.random(count) * cumulative[-1], side="right")
    face = np.minimum(face, len(areas) - 1)
    # Uniform in a triangle: Osada et al., "Shape Distributions" (2002), section 4.2.
    root, along = np.sqrt(rng.random(count)), rng.random(count)
    barycentric = np.stack([1 - root, root * (1 - along), root * along], axis=1)
    points = (part.triangles[face] * barycentric[:, :, None]).sum(axis=1)
    colors = linear_to_bytes(surface_color(part, face, barycentric))
    return surface_is_solid(part, face, barycentric), points.astype(np.float32), colors


def _from_cloud(
    cloud: Cloud, num_points: int, rng: np.random.Generator
) -> tuple[Points, Colors, list[str]]:
    available = len(cloud.points)
    too_few = available < num_points
    chosen = rng.choice(available, num_points, replace=too_few)
    warnings = []
    if too_few:
        warnings.append(
            f"the cloud has {available} points, fewer than {num_points}: sampled with replacement"
        )
    return cloud.points[chosen], cloud.colors[chosen], warnings
