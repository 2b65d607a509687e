"""ModelNet40's test set, as OpenShape's meta data have it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from data_prep.benchmarks.clouds import Item, LabelledClouds
from data_prep.benchmarks.files import (
    BenchmarkError,
    embeddings_by_class,
    read_npy,
    read_split,
    unique_ids,
)

FOLDER = "modelnet40"


def read_modelnet40(meta_data: Path) -> LabelledClouds:
    """Reads `modelnet40/` of the meta data; the classes are in the order of their embeddings.

    Raises:
      InputError: a file is missing or damaged, two don't fit together, or an item's category is
        not among the classes.
    """
    folder = meta_data / FOLDER
    split_file, clouds_file = folder / "test_split.json", folder / "test_pc.npy"
    embeddings_file = folder / "cat_name_pt_feat.npy"
    split = read_split(split_file, ("name", "category"))
    rows = embeddings_by_class(embeddings_file)
    for entry in split:
        if entry["category"] not in rows:
            raise BenchmarkError(
                f"{split_file}: item {entry['name']!r} is of category {entry['category']!r}, which "
                f"is not among the {len(rows)} classes of {embeddings_file}"
            )
    clouds = read_npy(clouds_file)
    if not isinstance(clouds, list | np.ndarray) or len(clouds) != len(split):
        count = len(clouds) if isinstance(clouds, list | np.ndarray) else "no"
        raise BenchmarkError(
            f"{clouds_file} has {count} clouds for the {len(split)} items of {split_file}; get "
            "both again"
        )
    items = []
    ids = unique_ids(entry["name"] for entry in split)
    for entry, item_id, cloud in zip(split, ids, clouds, strict=True):
        fields = cloud if isinstance(cloud, Mapping) else {}
        # Without coordinates the item fails by itself, later and with its name.
        xyz, rgb = fields.get("xyz"), fields.get("rgb")
        items.append(Item(item_id, entry["category"], xyz, rgb))
    return LabelledClouds("ModelNet40", tuple(rows), np.stack(list(rows.values())), items, 255.0)
