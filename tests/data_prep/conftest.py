"""A CLIP of random weights and a folder of small assets, for tests of the preparation."""

import json
from pathlib import Path

import pytest
import trimesh

from tests.tiny_clip import make_tiny_clip


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory) -> Path:
    """A CLIP folder with towers of one layer."""
    return make_tiny_clip(tmp_path_factory.mktemp("clip") / "tiny")


def make_assets(folder: Path, count: int) -> list[dict]:
    """Boxes and balls of `count` sizes, in two splits, and their manifest; its entries."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for index in range(count):
        name = f"{index:03d}.glb"
        size = 1 + index / count
        mesh = trimesh.creation.box([1, size, 2])
        if index % 2:
            mesh = trimesh.creation.cylinder(radius=size, height=2, sections=7)
        mesh.visual.vertex_colors = [(40 * index) % 256, 100, 200, 255]
        mesh.export(folder / name)
        kind = ("toy_box", "can")[index % 2]
        entries.append(
            {
                "path": name,
                "class": kind,
                "text": f"a {kind}",
                "captions": [f"{kind} number {index}"],
                "split": "train" if index % 4 else "test",
            }
        )
    write_manifest(folder, entries)
    return entries


def write_manifest(folder: Path, entries: list[dict]) -> None:
    """Writes `manifest.json`."""
    (folder / "manifest.json").write_text(json.dumps(entries))
