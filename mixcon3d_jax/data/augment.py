"""Augmentation of point clouds on the device.

It runs inside the training step rather than in the input pipeline: a host then only decodes, and
the numbers follow from the seed and the step alone, whatever the number of hosts and workers.
"""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, UInt32

GREY = 0.4  # the colour of a shape that has none


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """Ranges of the augmentation; the defaults are the original's.

    Attributes:
      max_dropout: the share of dropped points is uniform in 0..max_dropout.
      min_scale, max_scale: of a cloud, uniform between them.
      max_shift: along each axis, uniform in +-max_shift.
      angle_sigma, max_angle: three small rotations, normal and clipped, radians.
      rotate_z: a uniform rotation about z on top.
      grey_probability: with which all colours of a cloud become `GREY`.
    """

    max_dropout: float = 0.875
    min_scale: float = 0.8
    max_scale: float = 1.25
    max_shift: float = 0.1
    angle_sigma: float = 0.06
    max_angle: float = 0.18
    rotate_z: bool = True
    grey_probability: float = 0.5


@flax.struct.dataclass
class Draws:
    """What was drawn for each cloud of a batch.

    Apart from the clouds, so that a batch that is worked on in parts has the numbers of the whole.
    """

    dropped: Bool[Array, "batch points"]
    scale: Float[Array, "batch 1"]
    shift: Float[Array, "batch 3"]
    rotation: Float[Array, "batch 3 3"]
    grey: Bool[Array, "batch 1 1"]


def draw_augmentation(key: Key[Array, ""], batch: int, count: int, config: AugmentConfig) -> Draws:
    """The random numbers of a batch of clouds of `count` points each."""
    keys = jax.random.split(key, 7)
    ratio = jax.random.uniform(keys[0], (batch, 1), maxval=config.max_dropout)
    dropped = _random_16_bits(keys[1], batch, count) < (ratio * 2**16).astype(jnp.uint32)
    scale = jax.random.uniform(
        keys[2], (batch, 1), minval=config.min_scale, maxval=config.max_scale
    )
    shift = jax.random.uniform(
        keys[3], (batch, 3), minval=-config.max_shift, maxval=config.max_shift
    )
    angles = config.angle_sigma * jax.random.normal(keys[4], (batch, 3))
    rotation = rotation_matrices(angles.clip(-config.max_angle, config.max_angle))
    if config.rotate_z:
        turn = jax.random.uniform(keys[5], (batch,), maxval=2 * jnp.pi)
        around_z = rotation_matrices(jnp.stack([0 * turn, 0 * turn, turn], axis=-1))
        rotation = jnp.matmul(around_z, rotation, precision=jax.lax.Precision.HIGHEST)
    grey = jax.random.uniform(keys[6], (batch, 1, 1)) < config.grey_probability
    return Draws(dropped, scale, shift, rotation, grey)


def apply_augmentation(
    draws: Draws,
    points: Float[Array, "batch points 3"],
    colors: Float[Array, "batch points 3"],
) -> tuple[Float[Array, "batch points 3"], Float[Array, "batch points 3"]]:
    """Augments each cloud on its own, in the original's order.

    Point dropout (dropped points become the first point), scale, shift, small rotations, rotation
    about z; then the colours.  Only coordinates move; colours stay with their points.
    """
    # A coordinate at a time: an axis of three would leave most of a processor's lanes empty.
    planes = [points[..., axis] for axis in range(3)]
    planes = [jnp.where(draws.dropped, plane[:, :1], plane) for plane in planes]
    planes = [plane * draws.scale + draws.shift[:, axis, None] for axis, plane in enumerate(planes)]
    turned = [
        sum(draws.rotation[:, row, axis, None] * plane for axis, plane in enumerate(planes))
        for row in range(3)
    ]
    return jnp.stack(turned, axis=-1), jnp.where(draws.grey, GREY, colors)


def augment(
    key: Key[Array, ""],
    points: Float[Array, "batch points 3"],
    colors: Float[Array, "batch points 3"],
    config: AugmentConfig,
) -> tuple[Float[Array, "batch points 3"], Float[Array, "batch points 3"]]:
    """Draws for a batch and applies what was drawn (see `apply_augmentation`)."""
    batch, count, _ = points.shape
    return apply_augmentation(draw_augmentation(key, batch, count, config), points, colors)


def _random_16_bits(key: Key[Array, ""], batch: int, count: int) -> UInt32[Array, "batch count"]:
    """Uniform in 0..65535: two of each 32-bit word, which are what this spends its time on."""
    words = jax.random.bits(key, (batch, -(-count // 2)), jnp.uint32)
    return jnp.concatenate([words & 0xFFFF, words >> 16], axis=1)[:, :count]


def rotation_matrices(angles: Float[Array, "batch 3"]) -> Float[Array, "batch 3 3"]:
    """Rotations about x, then y, then z, by the three angles in radians."""
    (cx, cy, cz), (sx, sy, sz) = jnp.cos(angles).T, jnp.sin(angles).T
    rows = (
        (cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx),
        (sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx),
        (-sy, cy * sx, cy * cx),
    )
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)
