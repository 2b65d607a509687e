"""CLIP embeddings of renders and texts, in blocks that are kept, so that work can be resumed.

A block always holds the same assets or texts, whatever was finished before: rows of a matrix
product may differ in the last bit with the batch that they are computed in.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from data_prep.prepare_asset import decode_render, read_prepared
from data_prep.storage import DAMAGED
from mixcon3d_jax.assets import NUM_VIEWS
from mixcon3d_jax.files import npy_bytes, write_whole
from mixcon3d_jax.models.clip import NUMERICS
from mixcon3d_jax.models.clip_folder import ClipFolder
from mixcon3d_jax.models.prompts import PROMPT_TEMPLATES, embed_in_prompts
from mixcon3d_jax.progress import progress
from mixcon3d_jax.sharding import make_mesh

_ASSETS_PER_BLOCK = 8
_TEXTS_PER_BLOCK = 64


def open_clip(name: str, clip_id: str | None = None, dtype: str = "float32") -> ClipFolder:
    """The CLIP that all devices, of this machine or of the run, embed with together.

    Args:
      name: see `find_clip`.
      clip_id: how data sets are to name it; default: as it names itself.
      dtype: a key of `NUMERICS`.

    Raises:
      ClipError: it can't be read.
    """
    clip = ClipFolder.load(name, NUMERICS[dtype], make_mesh(1, -1, 1))
    return dataclasses.replace(clip, id=clip_id or clip.id)


def embed_views(
    clip: ClipFolder, work: Path, assets: Sequence[tuple[str, str]], render_size: int
) -> Float32[np.ndarray, "assets views D"]:
    """Embeds the renders of all assets.

    Args:
      clip: embeds them.
      work: holds the prepared assets; keeps the embeddings.
      assets: (id, fingerprint) of each; the fingerprint is empty where preparation failed, and
        that asset's rows mean nothing.
      render_size: height and width of the renders.
    """
    empty = np.zeros((render_size, render_size, 3), np.uint8)

    def renders(asset_id: str, fingerprint: str) -> list[np.ndarray]:
        if not fingerprint:
            return [empty] * NUM_VIEWS
        return [decode_render(png) for png in read_prepared(work, asset_id).renders]

    def embed(block: Sequence[tuple[str, str]]) -> np.ndarray:
        images = [image for asset in block for image in renders(*asset)]
        rows = clip.embed_images(images, batch_size=_ASSETS_PER_BLOCK * NUM_VIEWS)
        return rows.reshape(len(block), NUM_VIEWS, -1)

    return _in_blocks(
        work / "views",
        clip.fingerprint(),
        assets,
        _ASSETS_PER_BLOCK,
        embed,
        "embedding renders",
    )


def embed_texts(clip: ClipFolder, work: Path, texts: Iterable[str]) -> dict[str, np.ndarray]:
    """Embeds each distinct text as it is; {text: (D,)}, of length 1."""
    return _embed_distinct(
        work / "texts",
        clip.fingerprint(),
        texts,
        lambda block: clip.embed_texts(list(block), batch_size=_TEXTS_PER_BLOCK),
        "embedding texts",
    )


def embed_prompts(
    clip: ClipFolder,
    work: Path,
    texts: Iterable[str],
    templates: Sequence[str] = PROMPT_TEMPLATES,
) -> dict[str, np.ndarray]:
    """Embeds each distinct text in all prompt templates; {text: (D,)}.  See `embed_in_prompts`."""
    key = hashlib.sha256(json.dumps([clip.fingerprint(), list(templates)]).encode())
    return _embed_distinct(
        work / "prompts",
        key.hexdigest(),
        texts,
        lambda block: embed_in_prompts(clip, block, templates),
        "embedding prompts",
    )


def _embed_distinct(
    folder: Path,
    key: str,
    texts: Iterable[str],
    embed: Callable[[Sequence[str]], np.ndarray],
    what: str,
) -> dict[str, np.ndarray]:
    distinct = sorted(set(texts))
    if not distinct:
        return {}
    rows = _in_blocks(folder, key, distinct, _TEXTS_PER_BLOCK, embed, what)
    return dict(zip(distinct, rows, strict=True))


def _in_blocks(
    folder: Path,
    key: str,
    items: Sequence,
    block_size: int,
    embed: Callable[[Sequence], np.ndarray],
    what: str,
) -> np.ndarray:
    """Embeds block after block; one that was embedded before from the same items is read."""
    results = []
    starts = range(0, len(items), block_size)
    for start in progress(starts, len(starts), what):
        block = items[start : start + block_size]
        fingerprint = hashlib.sha256(json.dumps([key, block]).encode()).hexdigest()
        path = folder / f"{fingerprint[:24]}.npy"
        try:
            rows = np.load(path, allow_pickle=False)
        except DAMAGED:
            rows = embed(block)
            write_whole(path, npy_bytes(rows))
        results.append(rows)
    return np.concatenate(results)
