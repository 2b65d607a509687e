"""ScanObjectNN, as OpenShape's meta data have it: scans without colours or names."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from data_prep.benchmarks.clouds import Item, LabelledClouds
from data_prep.benchmarks.files import BenchmarkError, embeddings_by_class, read_npy

FOLDER = "scanobjectnn"
# The classes that the file's labels count.
CLASSES = (
    *("bag", "bin", "box", "cabinet", "chair", "desk", "display", "door", "shelf", "table", "bed"),
    *("pillow", "sink", "sofa", "toilet"),
)


def read_scanobjectnn(meta_data: Path) -> LabelledClouds:
    """Reads `scanobjectnn/` of the meta data; an item's id is its position.

    Raises:
      InputError: a file is missing or damaged, or an item's label is not among the classes.
    """
    folder = meta_data / FOLDER
    clouds_file, embeddings_file = folder / "xyz_label.npy", folder / "cat_name_pt_feat.npy"
    rows = embeddings_by_class(embeddings_file)
    missing = [name for name in CLASSES if name not in rows]
    if missing:
        raise BenchmarkError(f"{embeddings_file} has no embedding of the class {missing[0]!r}")
    content = read_npy(clouds_file)
    fields = content if isinstance(content, Mapping) else {}
    clouds, labels = fields.get("xyz"), fields.get("label")
    colors = fields.get("rgb")
    arrays = [clouds, labels] if colors is None else [clouds, labels, colors]
    if not all(isinstance(array, list | np.ndarray) and len(array) for array in arrays):
        raise BenchmarkError(f"{clouds_file} is no dict with 'xyz' and 'label'; get it again")
    if len({len(array) for array in arrays}) > 1:
        raise BenchmarkError(
            f"{clouds_file} has arrays of {', '.join(str(len(array)) for array in arrays)} items "
            "('xyz', 'label', 'rgb'); get it again"
        )
    names = [_class_name(clouds_file, index, label) for index, label in enumerate(labels)]
    items = [
        Item(str(index), name, clouds[index], None if colors is None else colors[index])
        for index, name in enumerate(names)
    ]
    embeddings = np.stack([rows[name] for name in CLASSES])
    return LabelledClouds("ScanObjectNN", CLASSES, embeddings, items)


def _class_name(clouds_file: Path, index: int, label: object) -> str:
    value = np.asarray(label)
    if value.size != 1 or value.dtype.kind not in "iuf" or value.item() not in range(len(CLASSES)):
        raise BenchmarkError(
            f"{clouds_file}: item {index} has the label {label!r}; labels go from 0 to "
            f"{len(CLASSES) - 1}, for {', '.join(CLASSES)}"
        )
    return CLASSES[int(value.item())]
