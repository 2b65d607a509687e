"""Stored clouds to what the point encoder takes, on the device.

A host hands over 9 bytes a point, as they are stored, instead of 24, and spends no time on them.
Coordinates are worked on one at a time: an axis of three entries would leave most of a CPU's or a
TPU's lanes empty.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Num, UInt8, UInt16

_SMALLEST_NORM = 1e-6


def normalize_clouds(points: Num[Array, "batch points 3"]) -> Float[Array, "batch points 3"]:
    """Centers each cloud on its mean and scales its largest norm to 1 (all zeros for one place)."""
    return _normalized([points[..., axis] for axis in range(3)])


def unpack_clouds(
    points: UInt16[Array, "batch points 3"] | Float[Array, "batch points 3"],
    colors: UInt8[Array, "batch points 3"] | Float[Array, "batch points 3"],
) -> tuple[Float[Array, "batch points 3"], Float[Array, "batch points 3"]]:
    """Normalised coordinates and colours in 0..1.

    Args:
      points: y-up, fixed point with any origin and unit.  The y and z coordinates are exchanged: a
        mirror, kept so that released weights mean the same.
      colors: sRGB, 0..255.

    Clouds of floating-point numbers are normalised and exchanged already and returned as they are.
    """
    if jnp.issubdtype(points.dtype, jnp.floating):
        return points, colors
    exchanged = [points[..., axis] for axis in (0, 2, 1)]
    return _normalized(exchanged), colors.astype(jnp.float32) / 255


def _normalized(planes: list[Num[Array, "batch points"]]) -> Float[Array, "batch points 3"]:
    planes = [plane.astype(jnp.float32) for plane in planes]
    planes = [plane - plane.mean(axis=1, keepdims=True) for plane in planes]
    largest = jnp.sqrt(sum(jnp.square(plane) for plane in planes).max(axis=1, keepdims=True))
    # Divided by infinity, a cloud without extent becomes zeros.
    largest = jnp.where(largest < _SMALLEST_NORM, jnp.inf, largest)
    return jnp.stack([plane / largest for plane in planes], axis=-1)
