"""Losses, gradients and several optimiser steps against the PyTorch mirror, for every variant."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

torch = pytest.importorskip("torch")

from mixcon3d_jax import losses  # noqa: E402
from mixcon3d_jax.exchange.pytorch_names import tree_from_pytorch  # noqa: E402
from mixcon3d_jax.models.mixcon3d import MAX_LOGIT_SCALE, MixCon3DConfig  # noqa: E402
from mixcon3d_jax.models.pointbert import PointBERTConfig  # noqa: E402
from mixcon3d_jax.models.variables import flatten  # noqa: E402
from mixcon3d_jax.sharding import batch_sharding, make_mesh, state_shardings  # noqa: E402
from mixcon3d_jax.training.optimizer import OptimizerConfig, make_optimizer  # noqa: E402
from mixcon3d_jax.training.state import new_state  # noqa: E402
from mixcon3d_jax.training.step import StepConfig, compile_train_step, embed_batch  # noqa: E402
from tests import golden_check  # noqa: E402
from tests.parity.make_reference import (  # noqa: E402
    expected_numbers,
    random_batches,
    random_model,
    torch_batch,
    write_reference,
)
from tests.parity.pytorch_mirror import Mirror  # noqa: E402
from tests.parity.pytorch_training import (  # noqa: E402
    TERMS,
    Trainer,
    load_weights,
    loss_terms,
    named_gradients,
    named_weights,
)
from tests.parity.side_by_side import assert_close, jax_weights  # noqa: E402

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "mixcon3d_tiny"
CONFIG = MixCon3DConfig(
    PointBERTConfig(
        dim=16, depth=2, heads=2, mlp_dim=28, sa_dim=20, patches=12, radius=0.4, neighbors=10
    ),
    embedding_size=14,
)
VARIANTS = {
    "default": {},
    "own image projection": {"share_proj": False},
    "mlp heads": {"head": "mlp"},
    "max": {"view_pooling": "max"},
    "avg_proj": {"view_pooling": "avg_proj"},
    "max_proj": {"view_pooling": "max_proj"},
    "all": {"share_proj": False, "head": "mlp", "view_pooling": "max_proj"},
}
OPTIMIZER = OptimizerConfig(2e-3, 5e-4, warmup_steps=2, total_steps=6, weight_decay=0.1)
EMA_DECAY = 0.8
ROWS = 8
# Some rows lack a text, a different number of them in every step; in the last all have one.
HAS_TEXT = np.random.default_rng(6).uniform(size=(6, ROWS)) < np.linspace(0.4, 1.1, 6)[:, None]


@pytest.fixture(scope="module")
def batches() -> dict[str, np.ndarray]:
    arrays = random_batches(CONFIG, 6, rows=ROWS, points=90, views=3, seed=2)
    return arrays | {"has_text": HAS_TEXT}


def jax_batch(batches: dict[str, np.ndarray], step: int) -> dict[str, np.ndarray]:
    return {
        "points": batches["xyz"][step],
        "colors": batches["rgb"][step],
        "text_embedding": batches["text_feat"][step],
        "view_embeddings": batches["img_feat"][step],
        "has_text": batches["has_text"][step],
    }


def train_here(model: Mirror, batches: dict[str, np.ndarray], devices: int):
    """The state and every step's metrics, from the mirror's weights."""
    _, params, stats = jax_weights(model)
    mesh = make_mesh(1, devices, 1, jax.devices()[:devices])
    config = StepConfig(model.config, OPTIMIZER, losses.Weights(), EMA_DECAY, None, seed=0)
    state = new_state(params, stats, make_optimizer(OPTIMIZER))
    state = jax.device_put(state, state_shardings(state, mesh))
    step, rows = compile_train_step(config, mesh, state), []
    for index in range(OPTIMIZER.total_steps):
        batch = jax.device_put(jax_batch(batches, index), batch_sharding(mesh))
        state, metrics = step(state, batch)
        names = ("learning_rate", "loss", *(f"{term}_loss" for term in TERMS))
        rows.append([float(metrics[name]) for name in names])
    return state, np.array(rows)


@pytest.mark.parametrize("variant", VARIANTS)
def test_loss_and_gradients_are_the_same(batches, variant):
    model = random_model(dataclasses.replace(CONFIG, **VARIANTS[variant]), seed=3)
    structure, params, stats = jax_weights(model)
    batch = jax.tree.map(jnp.asarray, jax_batch(batches, 0))
    assert 1 < batch["has_text"].sum() < ROWS

    def loss(params):
        ours = nnx.merge(structure, params, jax.tree.map(jnp.copy, stats))
        embeddings = embed_batch(ours, batch, train=True)
        terms = losses.mixcon3d_terms(embeddings, params["logit_scales"], batch["has_text"])
        return losses.total_loss(terms, losses.Weights())

    found, gradients = jax.jit(jax.value_and_grad(loss))(params)
    expected = sum(loss_terms(model.train(), torch_batch(batches, 0)).values())
    expected.backward()
    assert float(found) == pytest.approx(expected.item(), rel=1e-5)
    assert_close(flatten(gradients), tree_from_pytorch(named_gradients(model)), relative=1e-4)


@pytest.mark.parametrize(
    ("variant", "devices"), [("default", 1), ("default", 4), ("mlp heads", 1), ("all", 2)]
)
def test_several_steps_are_the_same(batches, variant, devices):
    model = random_model(dataclasses.replace(CONFIG, **VARIANTS[variant]), seed=4)
    state, rows = train_here(model, batches, devices)
    trainer = Trainer(model, OPTIMIZER, EMA_DECAY)
    expected = [trainer.update(torch_batch(batches, step)) for step in range(OPTIMIZER.total_steps)]
    np.testing.assert_allclose(rows, expected, rtol=1e-4)

    # Running means follow the biases that rounding noise moves, by at most the rates' sum.
    travelled = rows[:, 0].sum()
    final = tree_from_pytorch(named_weights(trainer.groups))
    ema = tree_from_pytorch(named_weights(trainer.ema))
    for weights, stats, theirs in (
        (state.params, state.stats, final),
        (state.ema_params, state.ema_stats, ema),
    ):
        ours = jax.tree.map(np.asarray, flatten(weights) | flatten(stats))
        for path in [path for path in theirs if path.endswith("/mean")]:
            np.testing.assert_allclose(ours.pop(path), theirs.pop(path), atol=travelled)
        # The mirror, like the original, averages no temperatures.
        found = {path: array for path, array in ours.items() if path in theirs}
        assert all("logit_scales" in path for path in ours.keys() - theirs.keys())
        assert_close(found, theirs, relative=1e-3)
    # One temperature started beyond the upper clamp, one next to the lower.
    scales = {term: float(scale) for term, scale in state.params["logit_scales"].items()}
    assert 4 < scales["point_image"] <= MAX_LOGIT_SCALE < 4.75
    assert variant == "all" or scales["image_text"] == 0.0


def test_rows_without_text_are_dropped_by_hand(batches):
    """Point and image are compared over all rows, and everything with text over some."""
    model, batch = random_model(CONFIG, seed=5).eval(), torch_batch(batches, 0)
    keep = batch["has_text"]
    with_text = {key: array[keep] for key, array in batch.items()}
    with torch.no_grad():
        everything = loss_terms(model, batch | {"has_text": torch.ones_like(keep)})
        kept = loss_terms(model, with_text)
    structure, params, stats = jax_weights(model)
    embeddings = embed_batch(
        nnx.merge(structure, params, stats), jax_batch(batches, 0), train=False
    )
    terms = losses.mixcon3d_terms(embeddings, params["logit_scales"], jnp.asarray(keep.numpy()))
    for name, term in terms.items():
        expected = everything[name] if name == "point_image" else kept[name]
        assert float(term["loss"]) == pytest.approx(expected.item(), rel=1e-5), name


def test_the_mirror_trains_as_the_original_does():
    if not GOLDEN.exists():
        pytest.skip(f"needs {GOLDEN}")
    golden = golden_check.Golden(GOLDEN)
    model = Mirror(golden.step_config.model)
    load_weights(model, golden.init)
    batches = golden.batches
    gradients = expected_numbers(model, torch_batch(batches, 0))
    trainer = Trainer(model, golden.step_config.optimizer, golden.step_config.ema_decay)
    rows = [trainer.update(torch_batch(batches, step)) for step in range(golden.config["steps"])]
    np.testing.assert_allclose(rows, golden.expected["trajectory"], rtol=1e-4)

    def here(arrays, prefix):
        found = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        tree = tree_from_pytorch(found)
        return {path: array for path, array in tree.items() if not path.endswith("/mean")}

    assert_close(here(gradients, "grad/"), here(golden.expected, "grad/"), relative=1e-4)
    final = named_weights(trainer.groups) | named_weights(trainer.ema, "ema_")
    assert {key: array.shape for key, array in final.items()} == {
        key: array.shape for key, array in golden.final.items()
    }
    assert_close(here(final, "ema_"), here(golden.final, "ema_"), relative=1e-3)
    plain = {key for key in final if not key.startswith("ema_")}
    assert_close(
        here({key: final[key] for key in plain}, ""),
        here({key: golden.final[key] for key in plain}, ""),
        relative=1e-3,
    )


def test_the_committed_reference_is_what_the_mirror_makes(tmp_path):
    committed = Path(__file__).parents[1] / "reference" / "mixcon3d"
    write_reference(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == json.loads(
        (committed / "config.json").read_text()
    )
    for name in ("init", "batches"):
        made, stored = np.load(tmp_path / f"{name}.npz"), np.load(committed / f"{name}.npz")
        assert made.files == stored.files
        for key in made.files:
            np.testing.assert_array_equal(made[key], stored[key], err_msg=key)
    assert golden_check.run(tmp_path) == 0
