"""From files in the original's layout to zero-shot figures, and out of the project and back."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from data_prep.benchmarks.__main__ import main as make_benchmarks
from data_prep.openshape.__main__ import main as convert
from data_prep.splits import main as make_splits
from mixcon3d_jax.data.splits import open_training_data
from mixcon3d_jax.evaluation.run import Evaluator
from mixcon3d_jax.models.variables import flatten
from mixcon3d_jax.sharding import make_mesh
from mixcon3d_jax.training.loop import train
from mixcon3d_jax.training.optimizer import make_optimizer
from mixcon3d_jax.training.run_config import step_config
from mixcon3d_jax.training.state import initial_state
from tests.openshape_files import Layout, make_openshape_folder

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = {
    "ensembled": "train_all",
    "ensembled_no_lvis": "train_no_lvis",
    "shapenet_only": "train_shapenet_only",
}
SIZES = {"dim": 32, "depth": 2, "heads": 2, "mlp_dim": 64, "sa_dim": 16, "patches": 16}
STEPS = 4


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Everything that the commands make of a folder in the original's layout."""
    place = tmp_path_factory.mktemp("openshape")
    source, root = place / "source", place / "data"
    make_openshape_folder(source, Layout())
    size = f"--embedding-size={Layout().embedding_size}"
    assert convert([f"--source={source}", f"--output={root}", "--workers=2", size]) == 0
    assert make_splits([f"--source={source}", f"--root={root}", "--neighbors"]) == 0
    benchmarks = [f"--source={source}", f"--output={root / 'benchmarks'}", "--workers=1"]
    assert make_benchmarks(benchmarks) == 0
    return root


def small(name: str, root: Path, *argument: str):
    """A shipped config, scaled down."""
    config = importlib.import_module(f"configs.{name}").get_config(*argument)
    config.data.root = str(root)
    config.clip.embedding_size = Layout().embedding_size
    config.data.num_points = 128
    for key, value in (SIZES | {"radius": 0.5, "neighbors": 16}).items():
        config.model.encoder[key] = value
    config.optim.batch_size = 8
    opened = open_training_data(root, config.data.split, config.clip.id, 16)
    config.optim.epochs = STEPS * 8 / len(opened.source)
    config.optim.warmup_epochs = 0.0
    config.eval.batch_size = 8
    config.eval.every_steps = 2
    return config


def run(config, workdir: Path) -> dict[str, float]:
    """Trains and evaluates; returns the figures of the last evaluation."""
    mesh = make_mesh(1, 1, 2, jax.devices()[:2])
    state = train(config, workdir, mesh, Evaluator(config, workdir, mesh))
    for leaf in jax.tree.leaves(state.params):
        assert np.isfinite(leaf).all()
    return json.loads((workdir / "eval" / f"{STEPS}.json").read_text())


@pytest.fixture(scope="module")
def finished(root, tmp_path_factory):
    """A run of `configs/ensembled.py`: its workdir and figures."""
    workdir = tmp_path_factory.mktemp("ensembled")
    return workdir, run(small("ensembled", root), workdir)


@pytest.mark.parametrize("name", ["ensembled_no_lvis", "shapenet_only"])
def test_every_config_trains_and_evaluates_on_all_benchmarks(root, finished, tmp_path, name):
    figures = run(small(name, root), tmp_path)
    assert figures.keys() == finished[1].keys()
    assert {"/".join(key.split("/")[1:3]) for key in figures} == {
        "modelnet40/point",
        "scanobjectnn/point",
        *(
            f"objaverse_lvis/{mode}"
            for mode in ("point", "image", "image_multiview", "fused", "fused_multiview", "sum")
        ),
    }
    assert all(0 <= figure <= 100 for figure in figures.values())


def test_the_released_codes_recipe_leaves_the_fusion_head_alone(root, tmp_path):
    config = small("ensembled", root, "recipe=released_code")
    config.eval.every_steps = 0
    mesh = make_mesh(1, 1, 2, jax.devices()[:2])
    state = train(config, tmp_path, mesh, lambda state, missing: {})
    step = step_config(config, num_records=1)
    start = initial_state(step.model, make_optimizer(step.optimizer), mesh, config.seed)
    unchanged = {
        path for path, array in flatten(state.params).items()
        if np.array_equal(array, flatten(start.params)[path])
    }  # fmt: skip
    assert unchanged == {"fusion/kernel", "fusion/bias", "logit_scales/fused_text"}


def test_hard_negatives_train(root, tmp_path):
    config = small("ensembled", root)
    config.data.neighbor_group = 4
    run(config, tmp_path)


def command(module: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", f"mixcon3d_jax.{module}", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_exported_and_imported_weights_give_equal_figures(finished, tmp_path):
    workdir, figures = finished
    file, imported = tmp_path / "weights.safetensors", tmp_path / "imported"
    command("export", f"--workdir={workdir}", f"--output={file}", "--weights=ema")
    command("import_torch", f"--input={file}", f"--workdir={imported}")
    command("evaluate", f"--workdir={imported}")
    # One set of weights without an optimiser: the imported run is at its start.
    found = json.loads((imported / "eval" / "0.json").read_text())
    assert found.keys() == figures.keys()
    for key, figure in found.items():
        assert figure == figures[key.replace("raw/", "ema/")], key
    described = command("inspect", str(imported))
    assert "train_all" in described
