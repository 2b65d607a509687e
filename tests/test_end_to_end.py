"""The shipped configs from asset files to zero-shot figures, with few objects and few steps."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODES = ("point", "image", "image_multiview", "fused", "fused_multiview", "sum")

# Enough for every part to run; what a full run reaches is in README.md.
SMALL = (
    "--config.data.num_points=256",
    "--config.model.encoder.depth=1",
    "--config.optim.batch_size=16",
    "--config.optim.epochs=2.0",
    "--config.eval.batch_size=16",
)


def run(module, *arguments) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with assets of three classes, one of them unseen, and the data set made of them."""
    folder = tmp_path_factory.mktemp("end_to_end")
    run(
        "data_prep.synthetic",
        f"--output={folder / 'assets'}",
        "--classes=chair,table,stool",
        "--train-per-class=12",
        "--seen-per-class=3",
        "--unseen-per-class=3",
    )
    run(
        "data_prep.assets",
        f"--manifest={folder / 'assets' / 'manifest.json'}",
        f"--output={folder / 'data'}",
        "--clip=small",
        "--up-axis=y",
        "--num-points=1000",
        "--no-prompt-texts",
    )
    return folder


def figures_of(workdir: Path) -> dict[str, float]:
    (path,) = (workdir / "eval").glob("*.json")
    return json.loads(path.read_text())


def test_the_built_in_run(place):
    printed = run(
        "mixcon3d_jax.train",
        "--config=configs/smoke.py",
        f"--config.data.root={place / 'data'}",
        f"--workdir={place / 'smoke'}",
        *SMALL,
    )
    assert "mesh replica 1 x data 4 x fsdp 2" in printed
    figures = figures_of(place / "smoke")
    counts = {"builtin_seen": 6, "builtin_unseen": 3, "builtin_unseen_names": 3}
    for benchmark, count in counts.items():
        for mode in MODES:
            for weights in ("ema", "raw"):
                assert figures[f"{weights}/{benchmark}/{mode}/count"] == count
                assert 0 <= figures[f"{weights}/{benchmark}/{mode}/top1"] <= 100
    # One name to choose among.
    assert figures["ema/builtin_unseen_names/point/top1"] == 100


def test_a_folder_of_ones_own_without_a_test_split(place):
    printed = run(
        "mixcon3d_jax.train",
        "--config=configs/assets.py",
        f"--config.data.root={place / 'data'}",
        f"--workdir={place / 'own'}",
        *SMALL,
    )
    assert "benchmark held_out is left out" in printed
    assert (place / "own" / "curves.png").exists()
    assert (place / "own" / "checkpoints").is_dir()
