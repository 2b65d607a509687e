"""Small checkpoints in the original's layout, without PyTorch."""

from pathlib import Path

import numpy as np

from mixcon3d_jax.exchange.pytorch_names import tree_to_pytorch
from mixcon3d_jax.exchange.snapshot import About, Snapshot
from mixcon3d_jax.exchange.weight_groups import Groups
from mixcon3d_jax.exchange.weights_file import WeightsFile
from mixcon3d_jax.models.mixcon3d import MixCon3DConfig
from mixcon3d_jax.models.variables import flatten, model_structure
from mixcon3d_jax.training.run_config import model_config
from tests.generated import small_config

SAVED = ("text_proj", "image_proj", "pc_img_proj", "image_logit_scale", "text_logit_scale")


def config_of(**model):
    """A small run's config with some keys of its model changed."""
    config = small_config(Path("nowhere"))
    for key, value in model.items():
        config.model[key] = value
    return config


def random_arrays(model: MixCon3DConfig, seed: int) -> dict[str, np.ndarray]:
    """Path here -> random array, of all weights and statistics; variances are positive."""
    rng = np.random.default_rng(seed)
    _, params, stats = model_structure(model)
    leaves = flatten(params) | flatten(stats)
    arrays = {path: rng.normal(size=x.shape).astype(np.float32) for path, x in leaves.items()}
    return {path: np.abs(x) if path.endswith("/var") else x for path, x in arrays.items()}


def random_groups(config, seed: int) -> Groups:
    """All groups that the original saves, random."""
    config.model.share_proj, shared = False, config.model.share_proj
    arrays = random_arrays(model_config(config), seed)
    config.model.share_proj = shared
    groups: Groups = {}
    for key, array in tree_to_pytorch(arrays).items():
        group, name = key.split("/", 1)
        groups.setdefault(group, {})[name] = array
    averages = {name: array + 1 for name, array in groups["state_dict"].items()}
    saved = {group: groups[group] for group in SAVED}
    return {"state_dict": groups["state_dict"], "state_dict_ema": averages, **saved}


def weights_file(groups: Groups, **fields) -> WeightsFile:
    """As if it had been read from a file."""
    return WeightsFile(Path("a.pt"), groups, **fields)


def random_snapshot(config, step: int = 3) -> Snapshot:
    """Of a run, no two arrays alike, with moments."""
    model = model_config(config)
    raw, ema = random_arrays(model, 1), random_arrays(model, 2)
    moments = {
        path: (3 * array, array**2)
        for path, array in raw.items()
        if not path.endswith(("/mean", "/var"))
    }
    about = About(config.to_dict(), config.clip.id, num_records=64)
    return Snapshot(about, step, raw, ema, moments)


def assert_same_arrays(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """The same paths and the same bits."""
    assert found.keys() == expected.keys()
    for path, array in expected.items():
        np.testing.assert_array_equal(found[path], array, err_msg=path)
