"""A small model of random weights with its CLIP, and assets that it can be used on."""

from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from mixcon3d_jax.exchange.own_export import write_export
from mixcon3d_jax.exchange.runs import make_run
from mixcon3d_jax.exchange.snapshot import About, Snapshot
from mixcon3d_jax.inference.model import Model, load
from mixcon3d_jax.models.mixcon3d import MixCon3D
from mixcon3d_jax.models.variables import flatten, split_module
from mixcon3d_jax.training.run_config import model_config
from tests.generated import small_config
from tests.tiny_clip import TINY_CLIP_ID, TINY_CLIP_SIZE, make_tiny_clip


def initial_snapshot(seed: int = 0, **about) -> Snapshot:
    """Of a run on the tiny CLIP, at its start but for other raw weights than averages."""
    config = small_config(Path("nowhere"))
    config.clip.id, config.clip.embedding_size = TINY_CLIP_ID, TINY_CLIP_SIZE
    _, params, stats = split_module(MixCon3D(model_config(config), rngs=nnx.Rngs(seed)))
    ema = {k: np.asarray(v) for k, v in jax.device_get(flatten(params) | flatten(stats)).items()}
    raw = {name: array + np.float32(0.01) for name, array in ema.items()}
    return Snapshot(About(config.to_dict(), config.clip.id, **about), 0, raw, ema, {})


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory) -> Path:
    """A CLIP folder with towers of one layer."""
    return make_tiny_clip(tmp_path_factory.mktemp("clip") / "tiny")


@pytest.fixture(scope="session")
def snapshot() -> Snapshot:
    """What the workdir holds."""
    return initial_snapshot()


@pytest.fixture(scope="session")
def workdir(tmp_path_factory, snapshot) -> Path:
    """A run with one checkpoint."""
    folder = tmp_path_factory.mktemp("use") / "run"
    make_run(folder, snapshot)
    return folder


@pytest.fixture(scope="session")
def export(tmp_path_factory, snapshot) -> Path:
    """The same, exported."""
    path = tmp_path_factory.mktemp("use") / "model.safetensors"
    write_export(path, snapshot, "ema")
    return path


@pytest.fixture(scope="session")
def model(workdir, tiny_clip) -> Model:
    """The model in the workdir."""
    return load(workdir, clip=str(tiny_clip), batch_size=8)
