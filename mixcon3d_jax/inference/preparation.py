"""One asset -> what the model takes of it; runs in worker processes, without JAX.

As `data_prep.assets` and the input pipeline of training do it: loaded, points drawn by area,
stored as 16-bit fixed point, rendered from 12 cameras.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8, UInt16

from mixcon3d_jax.assets import Asset, AssetError, load_asset, render_views, sample_points
from mixcon3d_jax.assets.asset import Cloud, Part
from mixcon3d_jax.assets.load import UpAxis
from mixcon3d_jax.data.fixed_point import encode_points
from mixcon3d_jax.inference.inputs import AssetFile

_SEED = 0


@dataclass(frozen=True)
class Preparation:
    """How assets are prepared.

    Attributes:
      num_points: points drawn.
      up_axis: the axis that points up in what the model takes.
      render_size: height and width of the renders, in pixels; 0 for none.
      most_points: a larger cloud is thinned to so many before anything else is done with it.
    """

    num_points: int
    up_axis: UpAxis
    render_size: int = 0
    most_points: int = 1_000_000


@dataclass(frozen=True)
class Prepared:
    """What the model takes of an asset.

    Attributes:
      points: fixed point, in random order.
      colors: sRGB.
      views: renders, if they were asked for.
      notes: what was mended or left out.
    """

    points: UInt16[np.ndarray, "points 3"]
    colors: UInt8[np.ndarray, "points 3"]
    views: UInt8[np.ndarray, "views size size 3"] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unreadable:
    """Why an asset can't be used."""

    reason: str


def prepare_file(file: AssetFile, preparation: Preparation) -> Prepared | Unreadable:
    """Prepares one file."""
    try:
        asset = load_asset(file.path, file.up_axis, file.root)
        return prepare_asset(str(file.path), asset, preparation)
    except AssetError as error:
        return Unreadable(str(error))
    except Exception as error:  # One strange asset must not stop the work on all others.
        return Unreadable(f"{file.path}: {type(error).__name__}: {error}; report this as a bug")


def prepare_asset(name: str, asset: Asset, preparation: Preparation) -> Prepared:
    """Prepares a loaded asset.

    Points are drawn with a seed that follows from the numbers of its faces or points: an asset has
    the same ones wherever it is, whatever it is called, and turned, scaled or exported anew, too.

    Raises:
      AssetError: if it has no extent, or one that can't be stored.
    """
    asset = replace(asset, parts=_in_order(asset.parts))
    rng = np.random.default_rng([_SEED, *_counts(asset)])
    asset, notes = _thinned(asset, preparation.most_points, rng)
    points, colors, sampling_notes = sample_points(asset, preparation.num_points, rng)
    fixed = as_the_model_takes(name, points, preparation.up_axis)
    views = render_views(asset, preparation.render_size) if preparation.render_size else None
    return Prepared(fixed, colors, views, (*asset.warnings, *notes, *sampling_notes))


def as_the_model_takes(
    name: str, points: Float[np.ndarray, "points 3"], up_axis: UpAxis
) -> UInt16[np.ndarray, "points 3"]:
    """Points, y-up, in fixed point with another axis up.

    Raises:
      AssetError: if they have no extent, or one that can't be stored.
    """
    if (points == points[0]).all():
        raise AssetError(f"{name}: all its points are in one place, which is no shape; check it")
    points = points if up_axis == "y" else y_up_to_z_up(points)
    with np.errstate(over="ignore", invalid="ignore"):
        fixed, _, step = encode_points(points)
    if not np.isfinite(step) or step == 0:
        raise AssetError(
            f"{name}: an extent of {np.ptp(points.astype(np.float64))} can't be used; bring it to "
            "a usual size"
        )
    return fixed


def y_up_to_z_up(points: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, "... 3"]:
    """The proper rotation (x, y, z) -> (x, -z, y)."""
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)


def _in_order(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """By size and place: an asset that is exported anew may have its parts in another order."""
    if len(parts) < 2:
        return parts
    middles = np.stack([part.triangles.mean(axis=(0, 1), dtype=np.float64) for part in parts])
    places = middles / max(np.abs(middles).max(), np.finfo(np.float32).tiny)
    # Rounded, so that what an export loses in the last digits decides nothing.
    placed = zip(parts, places.round(3).tolist(), strict=True)
    ranks = [(len(part.triangles), *place) for part, place in placed]
    return tuple(parts[index] for index in sorted(range(len(parts)), key=ranks.__getitem__))


def _counts(asset: Asset) -> list[int]:
    if asset.cloud is not None:
        return [len(asset.cloud.points)]
    return [len(part.triangles) for part in asset.parts]


def _thinned(asset: Asset, most: int, rng: np.random.Generator) -> tuple[Asset, tuple[str, ...]]:
    """A cloud of at most so many points, and what was done to it."""
    cloud = asset.cloud
    if cloud is None or len(cloud.points) <= most:
        return asset, ()
    chosen = rng.choice(len(cloud.points), most, replace=False, shuffle=False)
    note = f"the cloud has {len(cloud.points):,} points: {most:,} of them, at random, are used"
    return replace(asset, cloud=Cloud(cloud.points[chosen], cloud.colors[chosen])), (note,)
