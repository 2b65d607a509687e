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

from data_prep.storage import DAMAGED
from mixcon3d_jax.assets import AssetError, load_asset, render_views, sample_points
from mixcon3d_jax.files import write_whole

# Raise it when the same file and options give another result than before.
_FORMAT = 2


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
    """What became of an asset.

    Attributes:
      fingerprint: changes with its files and the options; empty where it failed.
      failure: why it could not be prepared, if so.
      warnings: what was mended.
      companions: the files that it refers to, relative to its folder.
    """

    fingerprint: str = ""
    failure: str = ""
    warnings: tuple[str, ...] = ()
    companions: tuple[str, ...] = ()


def prepared_path(work: Path, asset_id: str) -> Path:
    """Where an asset's prepared file lies; ids may hold anything, so names are hashes."""
    return work / "assets" / f"{hashlib.sha256(asset_id.encode()).hexdigest()[:24]}.npz"


def prepare(asset: Path, asset_id: str, root: Path, work: Path, options: PrepareOptions) -> Outcome:
    """Prepares one asset unless its prepared file is there and still right.

    A failure is part of the outcome and not stored, so that a later run tries again.

    Args:
      asset: the asset's file.
      asset_id: its id in the manifest.
      root: the folder that the files it refers to must lie in.
      work: where prepared files go.
      options: what else the result depends on.

    Raises:
      WriteError: when the prepared file cannot be written.
    """
    target = prepared_path(work, asset_id)
    finished = _finished(target, asset, options)
    if finished is not None:
        return finished
    try:
        data, outcome = _prepare(asset, asset_id, root, options)
    except AssetError as error:
        return Outcome(failure=str(error))
    except Exception as error:  # One strange asset must not stop the work on all others.
        return Outcome(failure=f"{asset}: {type(error).__name__}: {error}; report this as a bug")
    write_whole(target, data)
    return outcome


def _prepare(
    asset: Path, asset_id: str, root: Path, options: PrepareOptions
) -> tuple[bytes, Outcome]:
    loaded = load_asset(asset, options.up_axis, root)
    digest = hashlib.sha256(asset_id.encode()).digest()
    rng = np.random.default_rng([options.seed, *np.frombuffer(digest, np.uint32).tolist()])
    points, colors, sampling_warnings = sample_points(loaded, options.num_points, rng)
    views = render_views(loaded, options.render_size)
    companions = tuple(str(path.relative_to(asset.parent)) for path in loaded.companions)
    fingerprint = asset_fingerprint(asset, companions, options)
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
    return buffer.getvalue(), Outcome(fingerprint, warnings=warnings, companions=companions)


def _finished(target: Path, asset: Path, options: PrepareOptions) -> Outcome | None:
    """The outcome of an earlier run, if the file is readable and nothing has changed since."""
    try:
        with np.load(target, allow_pickle=False) as arrays:
            meta = json.loads(arrays["meta"].tobytes())
        found = asset_fingerprint(asset, meta["companions"], options)
    except (*DAMAGED, KeyError):
        return None
    if found != meta["fingerprint"]:
        return None
    return Outcome(found, warnings=tuple(meta["warnings"]), companions=tuple(meta["companions"]))


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


def asset_fingerprint(asset: Path, companions: Iterable[str], options: PrepareOptions) -> str:
    """A hash of the asset's files (their absence too) and of the options."""
    total = hashlib.sha256(json.dumps([_FORMAT, asdict(options)]).encode())
    for path in (asset, *(asset.parent / name for name in companions)):
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
        total.update(content.encode())
    return total.hexdigest()
