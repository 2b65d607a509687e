"""A small folder in the layout of OpenShape's training data, made for tests.

    make_openshape_folder(tmp_path / "openshape")

Shapes are blobs of four classes whose form, embeddings and texts say the class, so that something
can be learned.  `irregular=True` spreads every irregularity of the real files over them.
"""

import dataclasses
import hashlib
import io
import json
import pickle
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

# Names that Objaverse-LVIS, ModelNet40 and ScanObjectNN share.
CLASSES = ("bed", "chair", "sofa", "toilet")
SCANOBJECTNN_CLASSES = (
    *("bag", "bin", "box", "cabinet", "chair", "desk", "display", "door", "shelf", "table", "bed"),
    *("pillow", "sink", "sofa", "toilet"),
)
DATASETS = ("Objaverse", "ShapeNet", "ABO", "3D-FUTURE")
NUM_VIEWS = 12
NUM_NEIGHBORS = 32
_COUNTS = {"Objaverse": 24, "ShapeNet": 16, "ABO": 8, "3D-FUTURE": 8}
# As an unpacked archive may have them, or not.
_MEMBER_PREFIX = {"Objaverse": "", "ShapeNet": "ShapeNet/", "ABO": "./ABO/", "3D-FUTURE": ""}


@dataclasses.dataclass(frozen=True)
class Layout:
    """What `make_openshape_folder` makes.

    Attributes:
      counts: shapes of each data set.
      num_points: n of a regular shape.
      embedding_size: D.
      archives: data sets that lie in archives; the others are unpacked.  Of Objaverse's two parts
        only the first is an archive.
      test_items: shapes of ModelNet40 and of ScanObjectNN.
      irregular: whether shapes differ as the real ones do.
    """

    counts: Mapping[str, int] = dataclasses.field(default_factory=lambda: dict(_COUNTS))
    num_points: int = 200
    embedding_size: int = 16
    archives: tuple[str, ...] = ("Objaverse", "ABO", "3D-FUTURE")
    test_items: int = 12
    irregular: bool = True


def make_openshape_folder(directory: Path, layout: Layout | None = None) -> Path:
    """Writes the folder; returns it.  The same layout gives the same content."""
    layout = layout or Layout()
    for dataset, count in layout.counts.items():
        _write_dataset(directory, layout, dataset, count)
    _write_meta_data(directory / "meta_data", layout)
    _write_modelnet(directory / "meta_data" / "modelnet40", layout)
    _write_scanobjectnn(directory / "meta_data" / "scanobjectnn", layout)
    return directory


def shape_id(dataset: str, index: int) -> str:
    return hashlib.md5(f"{dataset}/{index}".encode()).hexdigest()


def shape_group(dataset: str, index: int) -> str:
    return f"000-00{index % 2}" if dataset == "Objaverse" else f"part{index % 2}"


def shape_class(index: int) -> str:
    return CLASSES[index // 2 % len(CLASSES)]


def class_meaning(name: str, embedding_size: int) -> np.ndarray:
    """A unit vector for a class name."""
    row = np.random.default_rng([5, *name.encode()]).normal(size=embedding_size)
    return (row / np.linalg.norm(row)).astype(np.float32)


def class_cloud(name: str, num_points: int, rng: np.random.Generator) -> np.ndarray:
    """Points of a blob whose three extents, within [-1, 1], are the class's own."""
    extents = np.random.default_rng([6, *name.encode()]).permutation([0.15, 0.4, 1.0])
    extents = extents * np.random.default_rng([7, *name.encode()]).uniform(0.6, 1, 3)
    points = rng.normal(size=(num_points, 3))
    return (points / np.linalg.norm(points, axis=1, keepdims=True) * extents).astype(np.float32)


def make_shape(
    dataset: str,
    index: int,
    num_points: int = 200,
    embedding_size: int = 16,
    irregular: bool = False,
) -> dict[str, Any]:
    """What one file of the training data holds."""
    rng = np.random.default_rng([index, *dataset.encode()])
    name = shape_class(index)
    near = _Near(class_meaning(name, embedding_size), rng, index if irregular else None)
    if irregular and index % 6 in (4, 5):
        num_points = num_points * 2 if index % 6 == 5 else num_points // 2
    both = ("original", "prompt_avg")
    retrieved = 0 if irregular and index % 4 == 3 else 4
    shape = {
        "dataset": dataset,
        "group": shape_group(dataset, index),
        "id": shape_id(dataset, index),
        "xyz": class_cloud(name, num_points, rng),
        "rgb": rng.uniform(size=(num_points, 3)).astype(np.float32),
        "image_feat": near.rows(NUM_VIEWS),
        "text": [f"a {name}", f"{name} number {index}", name],
        "text_feat": [{kind: near.one() for kind in both} for _ in range(3)],
        "blip_caption": f"a picture of a {name}",
        "blip_caption_feat": {kind: near.one() for kind in both},
        "msft_caption": f"there is a {name}",
        "msft_caption_feat": {kind: near.one() for kind in both},
        "retrieval_text": [f"{name} for sale {i}" for i in range(retrieved)],
        "retrieval_text_feat": [{"original": near.one()} for _ in range(retrieved)],
    }
    if dataset == "Objaverse":
        shape["thumbnail_feat"] = near.one()
    return _irregular(shape, index) if irregular else shape


class _Near:
    """Embeddings close to a class's, as float16 vectors unless `variant` says otherwise."""

    def __init__(self, meaning: np.ndarray, rng: np.random.Generator, variant: int | None):
        self._meaning, self._rng = meaning, rng
        self._dtype = np.float32 if variant is not None and variant % 3 == 0 else np.float16
        self._shape = (1, -1) if variant is not None and variant % 2 else (-1,)

    def rows(self, count: int) -> np.ndarray:
        noise = self._rng.normal(size=(count, len(self._meaning)))
        return (self._meaning + 0.05 * noise).astype(self._dtype)

    def one(self) -> np.ndarray:
        return self.rows(1).reshape(self._shape)


def _irregular(shape: dict[str, Any], index: int) -> dict[str, Any]:
    """The ways in which captions and strings of the real files vary."""
    if index % 5 == 1:
        shape |= {"blip_caption": "", "blip_caption_feat": {}}
    elif index % 5 == 2:
        del shape["msft_caption"], shape["msft_caption_feat"]
    elif index % 5 == 3:
        shape |= {"blip_caption": None, "blip_caption_feat": None}
        shape |= {"msft_caption": "", "msft_caption_feat": None}
    if index % 7 == 1:
        for key in ("dataset", "group", "id", "msft_caption"):
            if shape.get(key) is not None:
                shape[key] = np.str_(shape[key])
        shape["text"] = np.array(shape["text"])
    if index % 9 == 8:
        shape |= {"text": [], "text_feat": []}
        del shape["retrieval_text"], shape["retrieval_text_feat"]
    return shape


def npy_bytes(value: Any) -> bytes:
    """What `numpy.save` writes for an object: the object in a 0-d array."""
    file = io.BytesIO()
    np.save(file, value, allow_pickle=True)
    return file.getvalue()


def shape_bytes(shape: Mapping[str, Any], index: int = 0) -> bytes:
    """A file of the training data; every eighth has no 0-d array around the dict."""
    return pickle.dumps(shape, 4) if index % 8 == 7 else npy_bytes(shape)


def write_archive(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """A `.tar.gz` of the members, in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def _write_dataset(directory: Path, layout: Layout, dataset: str, count: int) -> None:
    parts: dict[str, list[tuple[str, bytes]]] = {}
    for index in range(count):
        shape = make_shape(
            dataset, index, layout.num_points, layout.embedding_size, layout.irregular
        )
        content = shape_bytes(shape, index) if layout.irregular else npy_bytes(shape)
        group = shape_group(dataset, index)
        # The parts of Objaverse are archives of their own.
        part = group if dataset == "Objaverse" else ""
        parts.setdefault(part, []).append((f"{group}/{shape_id(dataset, index)}.npy", content))
    for part, members in sorted(parts.items()):
        if dataset in layout.archives and part in ("", "000-000"):
            archive = f"{dataset}/{part}.tar.gz" if part else f"{dataset}.tar.gz"
            prefix = _MEMBER_PREFIX[dataset]
            write_archive(directory / archive, ((prefix + name, data) for name, data in members))
            continue
        for name, content in members:
            path = directory / dataset / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _entry(dataset: str, index: int) -> dict[str, str]:
    group, name = shape_group(dataset, index), shape_id(dataset, index)
    path = f"/mnt/data/{dataset}/{group}/{name}.npy"
    return {"id": name, "dataset": dataset, "group": group, "data_path": path}


def _is_lvis(index: int) -> bool:
    return index % 3 != 2


def _write_meta_data(directory: Path, layout: Layout) -> None:
    indices = [(name, index) for name, count in layout.counts.items() for index in range(count)]
    objaverse = [index for name, index in indices if name == "Objaverse"]
    lvis = [
        {"uid": entry.pop("id"), **entry, "category": shape_class(index)}
        for index in objaverse
        if _is_lvis(index)
        for entry in [_entry("Objaverse", index)]
    ]
    entries = [_entry(*item) for item in indices]
    lvis_ids = {entry["uid"] for entry in lvis}
    _write_json(directory / "split/train_all.json", entries)
    _write_json(
        directory / "split/train_no_lvis.json", [e for e in entries if e["id"] not in lvis_ids]
    )
    _write_json(
        directory / "split/ablation/train_shapenet_only.json",
        [entry for entry in entries if entry["dataset"] == "ShapeNet"],
    )
    _write_json(directory / "split/lvis.json", lvis)
    flags = {shape_id("Objaverse", i): {"flag": "YN"[i % 3 == 0], "reason": ""} for i in objaverse}
    _write_json(directory / "gpt4_filtering.json", flags)
    np.save(directory / "point_feat_knn.npy", _neighbors(indices), allow_pickle=True)
    classes = sorted({entry["category"] for entry in lvis})
    rows = [class_meaning(name, layout.embedding_size) for name in classes]
    np.save(directory / "lvis_cat_name_pt_feat.npy", np.array(rows).reshape(len(rows), -1))


def _neighbors(indices: list[tuple[str, int]]) -> dict[str, Any]:
    """Every shape itself, then shapes of its class, then others."""
    names = [shape_id(*item) for item in indices]
    classes = [shape_class(index) for _, index in indices]
    index = {}
    for position, name in enumerate(names):
        order = sorted(
            range(len(names)),
            key=lambda i: (i != position, classes[i] != classes[position], (i - position) ** 2),
        )
        index[name] = np.array(order[:NUM_NEIGHBORS])
    return {"name": names, "index": index}


def _class_embeddings(names: Iterable[str], embedding_size: int) -> dict[str, Any]:
    return {
        name: {"open_clip_text_feat": class_meaning(name, embedding_size)[None]} for name in names
    }


def _write_modelnet(directory: Path, layout: Layout) -> None:
    rng = np.random.default_rng(40)
    names = [CLASSES[i % len(CLASSES)] for i in range(layout.test_items)]
    split = [{"name": f"{name}_{i:04d}", "category": name} for i, name in enumerate(names)]
    _write_json(directory / "test_split.json", split)
    clouds = np.empty(layout.test_items, object)
    for i, name in enumerate(names):
        clouds[i] = {
            "xyz": class_cloud(name, layout.num_points, rng),
            "rgb": rng.integers(0, 256, (layout.num_points, 3)),
        }
    np.save(directory / "test_pc.npy", clouds, allow_pickle=True)
    classes = _class_embeddings(("toilet", "bed", "chair", "sofa"), layout.embedding_size)
    np.save(directory / "cat_name_pt_feat.npy", classes, allow_pickle=True)


def _write_scanobjectnn(directory: Path, layout: Layout) -> None:
    rng = np.random.default_rng(15)
    directory.mkdir(parents=True, exist_ok=True)
    names = [CLASSES[i % len(CLASSES)] for i in range(layout.test_items)]
    clouds = {
        "xyz": np.array([class_cloud(name, layout.num_points, rng) for name in names]),
        "label": np.array([SCANOBJECTNN_CLASSES.index(name) for name in names]),
    }
    np.save(directory / "xyz_label.npy", clouds, allow_pickle=True)
    classes = _class_embeddings(sorted(SCANOBJECTNN_CLASSES), layout.embedding_size)
    np.save(directory / "cat_name_pt_feat.npy", classes, allow_pickle=True)


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
