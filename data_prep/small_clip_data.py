"""What the small CLIP learns from: renders and texts of built-in objects of the split "clip".

No benchmark contains an object of this split.
"""

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from data_prep.shapes import CLASSES
from data_prep.small_clip_folder import IMAGE_SIZE
from data_prep.synthetic import make_object
from mixcon3d_jax.assets import NUM_VIEWS, load_asset, render_views
from mixcon3d_jax.models.prompts import class_phrase
from mixcon3d_jax.progress import progress

SPLIT = "clip"


@dataclass(frozen=True)
class RenderedObjects:
    """Objects with their pictures.

    Attributes:
      classes: the class of each object, an index into `list(CLASSES)`.
      texts: all true texts of each object.
      renders: pictures before white, memory-mapped.
    """

    classes: Int[np.ndarray, " objects"]
    texts: list[list[str]]
    renders: UInt8[np.ndarray, "objects views size size 3"]


def class_names(name: str) -> list[str]:
    """What a class is called: its name in words, its synonyms, and its name as written."""
    nouns = [class_phrase(name), *CLASSES[name].synonyms, name]
    return list(dict.fromkeys(nouns))


def _render(place: tuple[str, int, int]) -> tuple[list[str], np.ndarray]:
    class_name, seed, index = place
    made = make_object(class_name, seed, SPLIT, index)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "object.glb"
        path.write_bytes(made.mesh_scene.export(file_type="glb"))
        renders = render_views(load_asset(path, up_axis="y"), IMAGE_SIZE)
    return [made.text, *made.captions], renders


def render_objects(
    cache: Path, seed: int, indices: Sequence[int], processes: int = 2
) -> RenderedObjects:
    """Makes and renders the objects of every class with these indices, or reads them from `cache`.

    Args:
      cache: a folder; what it holds is used if it was made with the same seed and indices.
      seed: of the objects.
      indices: which objects of each class.
      processes: how many render at the same time.
    """
    places = [(name, seed, index) for name in CLASSES for index in indices]
    name = f"seed{seed}-{indices[0]}-{indices[-1]}"
    renders_file, texts_file = cache / f"{name}.npy", cache / f"{name}.json"
    if not texts_file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        shape = (len(places), NUM_VIEWS, IMAGE_SIZE, IMAGE_SIZE, 3)
        renders = np.lib.format.open_memmap(renders_file, "w+", np.uint8, shape)
        texts = []
        # `spawn`: a fork of a process in which JAX runs may hang.
        with get_context("spawn").Pool(processes) as pool:
            results = pool.imap(_render, places, chunksize=8)
            for number, (own, pictures) in enumerate(
                progress(results, len(places), "rendering objects")
            ):
                renders[number] = pictures
                texts.append(own)
        renders.flush()
        # Written last: where there are texts, all renders are there.
        partial = texts_file.with_suffix(".partial")
        partial.write_text(json.dumps(texts))
        os.replace(partial, texts_file)
    return RenderedObjects(
        classes=np.repeat(np.arange(len(CLASSES)), len(indices)),
        texts=json.loads(texts_file.read_text()),
        renders=np.load(renders_file, mmap_mode="r"),
    )
