"""One asset -> its points and renders in one file; runs in worker processes, without JAX."""

import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from data_prep.storage import DAMAGED, write_whole
from mixcon3d_jax.assets import AssetError, load_asset, render_views, sample_points

# Raise it when the same file and options give another result than before.
_FORMAT = 1


@dataclass(frozen=True)
class PrepareOptions:
    """What a prepared asset depends on besides its file.

    Attributes:
      up_axis: the axis that points up in the file.
      num_points: points drawn.
      render_size: height and width of the renders, in pixels.
      seed: with the asset's id, seeds the drawing of points.
    """

    up_axis: Literal["y", "z"]
    num_points: int
    render_size: int
    seed: int


@dataclass(frozen=True)
class Prepared:
    """Points and renders of one asset.

    Attributes:
      points: the asset's own units, y-up, in random order.
      colors: sRGB.
      renders: the views, as PNG files.
      warnings: what was mended.
      fingerprint: changes with the asset's files and the options.
    """

    points: Float32[np.ndarray, "points 3"]
    colors: UInt8[np.ndarray, "points 3"]
    renders: tuple[bytes, ...]
    warnings: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True)
class Outcome:
    """What became of an asset: `failure` says why it could not be prepared, if so."""

    fingerprint: str = ""
    failure: str = ""
    warnings: tuple[str, ...] = ()


def prepared_path(work: Path, asset_id: str) -> Path:
    """Where an asset's prepared file lies; ids may hold anything, so names are hashes."""
    return work / "assets" / f"{hashlib.sha256(asset_id.encode()).hexdigest()[:24]}.npz"


def prepare(asset: Path, asset_id: str, work: Path, options: PrepareOptions) -> Outcome:
    """Prepares one asset unless its prepared file is there and still right.

    A failure is part of the outcome and not stored, so that a later run tries again.

    Raises:
      DiskFullError: when there is no room for the prepared file.
    """
    target = prepared_path(work, asset_id)
    finished = _finished(target, asset, options)
    if finished is not None:
        return finished
    try:
        data, outcome = _prepare(asset, asset_id, options)
    except AssetError as error:
        return Outcome(failure=str(error))
    except Exception as error:  # One strange asset must not stop the work on all others.
        return Outcome(failure=f"{asset}: {type(error).__name__}: {error}; report this as a bug")
    write_whole(target, data)
    return outcome


def _prepare(asset: Path, asset_id: str, options: PrepareOptions) -> tuple[bytes, Outcome]:
    loaded = load_asset(asset, options.up_axis)
    digest = hashlib.sha256(asset_id.encode()).digest()
    rng = np.random.default_rng([options.seed, *np.frombuffer(digest, np.uint32).tolist()])
    points, colors, sampling_warnings = sample_points(loaded, options.num_points, rng)
    views = render_views(loaded, options.render_size)
    companions = [str(path) for path in loaded.companions]
    fingerprint = _fingerprint(asset, map(Path, companions), options)
    warnings = (*loaded.warnings, *sampling_warnings)
    meta = {"fingerprint": fingerprint, "companions": companions, "warnings": warnings}
    pngs = [_png(view) for view in views]
    buffer = io.BytesIO()
    np.savez(
        buffer,
        meta=np.frombuffer(json.dumps(meta).encode(), np.uint8),
        points=points,
        colors=colors,
        png=np.frombuffer(b"".join(pngs), np.uint8),
        png_sizes=np.array([len(png) for png in pngs]),
    )
    return buffer.getvalue(), Outcome(fingerprint, warnings=warnings)


def _finished(target: Path, asset: Path, options: PrepareOptions) -> Outcome | None:
    """The outcome of an earlier run, if the file is readable and nothing has changed since."""
    try:
        with np.load(target, allow_pickle=False) as arrays:
            meta = json.loads(arrays["meta"].tobytes())
        found = _fingerprint(asset, map(Path, meta["companions"]), options)
    except (*DAMAGED, KeyError):
        return None
    if found != meta["fingerprint"]:
        return None
    return Outcome(found, warnings=tuple(meta["warnings"]))


def read_prepared(work: Path, asset_id: str) -> Prepared:
    """Reads what `prepare` wrote."""
    with np.load(prepared_path(work, asset_id), allow_pickle=False) as arrays:
        meta = json.loads(arrays["meta"].tobytes())
        png, ends = arrays["png"].tobytes(), np.cumsum(arrays["png_sizes"])
        starts = [0, *ends[:-1].tolist()]
        return Prepared(
            points=arrays["points"],
            colors=arrays["colors"],
            renders=tuple(png[a:b] for a, b in zip(starts, ends.tolist(), strict=True)),
            warnings=tuple(meta["warnings"]),
            fingerprint=meta["fingerprint"],
        )


def decode_render(png: bytes) -> UInt8[np.ndarray, "height width 3"]:
    """The picture in a PNG file."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def _png(image: UInt8[np.ndarray, "height width 3"]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def _fingerprint(asset: Path, companions: Iterable[Path], options: PrepareOptions) -> str:
    """A hash of the asset's files (their absence too) and of the options."""
    total = hashlib.sha256(json.dumps([_FORMAT, asdict(options)]).encode())
    for path in (asset, *companions):
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
        total.update(content.encode())
    return total.hexdigest()
