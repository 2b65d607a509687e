"""Compares with numbers measured from the original: `python -m tests.golden_check DIR`.

DIR holds `config.json`, `init.npz`, `batches.npz`, `expected.npz` and `final.npz`.  Prints one line
a check with the largest error; the exit status is the number of checks beyond their tolerance.
"""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mixcon3d_jax import losses
from mixcon3d_jax.exchange.pytorch_names import array_from_pytorch, from_pytorch, tree_from_pytorch
from mixcon3d_jax.models.grouping import ball_query, farthest_point_sample, gather_points
from mixcon3d_jax.models.mixcon3d import MixCon3DConfig
from mixcon3d_jax.models.pointbert import PointBERTConfig
from mixcon3d_jax.models.variables import flatten, model_structure, unflatten_like
from mixcon3d_jax.sharding import batch_sharding, make_mesh, state_shardings
from mixcon3d_jax.training.optimizer import OptimizerConfig, make_optimizer
from mixcon3d_jax.training.state import new_state
from mixcon3d_jax.training.step import StepConfig, compile_train_step, embed_batch

LOSS_COLUMNS = ("loss", "point_text_loss", "point_image_loss", "image_text_loss", "fused_text_loss")


class Report:
    """Prints checks and counts the failed ones."""

    def __init__(self):
        self.failures = 0

    def check(self, name: str, error: float, tolerance: float) -> None:
        ok = bool(error <= tolerance)  # NaN is not ok
        self.failures += not ok
        print(f"{'ok  ' if ok else 'FAIL'} {name:<44} error {error:.3g} (tolerance {tolerance:g})")


def largest_error(found, expected) -> float:
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        return float("inf")
    return float(np.abs(found.astype(np.float64) - expected.astype(np.float64)).max(initial=0))


class Golden:
    """A golden folder and the model that it describes."""

    def __init__(self, folder: Path):
        self.config = json.loads((folder / "config.json").read_text())
        for name in ("init", "batches", "expected", "final"):
            setattr(self, name, dict(np.load(folder / f"{name}.npz")))
        dims = self.config["model"]
        self.encoder = PointBERTConfig(
            dim=dims["dim"],
            depth=dims["depth"],
            heads=dims["heads"],
            mlp_dim=dims["mlp_dim"],
            sa_dim=dims["sa_dim"],
            patches=dims["patches"],
            radius=dims["prad"],
            neighbors=dims["nsamp"],
        )
        model = MixCon3DConfig(self.encoder, dims["out"])
        self.structure, params, stats = model_structure(model)
        flat = tree_from_pytorch(self.init)
        self.params, self.stats = unflatten_like(params, flat), unflatten_like(stats, flat)
        self.step_config = StepConfig(
            model=model,
            optimizer=OptimizerConfig(
                learning_rate=self.config["base_lr"],
                min_learning_rate=self.config["min_lr"],
                warmup_steps=self.config["warmup_steps"],
                total_steps=self.config["steps"],
                beta1=self.config["betas"][0],
                beta2=self.config["betas"][1],
                epsilon=self.config["eps"],
                weight_decay=self.config["weight_decay"],
            ),
            weights=losses.Weights(),
            ema_decay=self.config["ema_decay"],
            augment=None,
            seed=0,
        )

    def batch(self, index: int) -> dict[str, np.ndarray]:
        return {
            "points": self.batches["xyz"][index],
            "colors": self.batches["rgb"][index],
            "text_embedding": self.batches["text_feat"][index],
            "view_embeddings": self.batches["img_feat"][index],
            "has_text": np.ones(self.batches["xyz"].shape[1], bool),
        }

    def model(self):
        params, stats = jax.tree.map(jnp.asarray, (self.params, self.stats))
        return nnx.merge(self.structure, params, stats)


def check_grouping(golden: Golden, report: Report) -> None:
    encoder, expected = golden.encoder, golden.expected
    points = jnp.asarray(golden.batches["xyz"][0])
    fps = farthest_point_sample(points, encoder.patches)
    report.check("farthest point indices", largest_error(fps, expected["fps_idx"]), 0)
    centers = gather_points(points, fps)
    ball = ball_query(points, centers, encoder.radius, encoder.neighbors)
    report.check("ball query indices", largest_error(ball, expected["ball_idx"]), 0)


def check_outputs(golden: Golden, report: Report) -> None:
    batch, expected = golden.batch(0), golden.expected
    points, colors = jnp.asarray(batch["points"]), jnp.asarray(batch["colors"])
    centers, features = golden.model().encoder.set_abstraction(points, colors, train=False)
    for name, found in (("sa_centroids", centers), ("sa_features", features)):
        error = largest_error(np.swapaxes(found, 1, 2), expected[name])
        report.check(f"set abstraction, {name}", error, 1e-5)
    for name, train in (("eval_pc_feat", False), ("train_pc_feat", True)):
        found = golden.model().embed_points(points, colors, train=train)
        report.check(f"encoder output, {name}", largest_error(found, expected[name]), 1e-5)


def check_gradients(golden: Golden, report: Report) -> None:
    def loss(params):
        model = nnx.merge(golden.structure, params, jax.tree.map(jnp.asarray, golden.stats))
        batch = jax.tree.map(jnp.asarray, golden.batch(0))
        embeddings = embed_batch(model, batch, train=True)
        terms = losses.mixcon3d_terms(embeddings, params["logit_scales"], batch["has_text"])
        return losses.total_loss(terms, golden.step_config.weights)

    found = flatten(jax.jit(jax.grad(loss))(jax.tree.map(jnp.asarray, golden.params)))
    expected: dict[str, dict[str, np.ndarray]] = {}
    for key, array in golden.expected.items():
        if key.startswith("grad/"):
            _, group, name = key.split("/", 2)
            path = from_pytorch(group, name)
            expected.setdefault(group, {})[path] = array_from_pytorch(path, array)
    for group, arrays in expected.items():
        largest = max(np.abs(array).max() for array in arrays.values())
        error = max(largest_error(found[path], array) for path, array in arrays.items())
        report.check(f"gradients, {group}", error / largest, 1e-4)
    missing = set(found) - {path for arrays in expected.values() for path in arrays}
    report.check("parameters without a golden gradient", len(missing), 0)


def check_trajectory(golden: Golden, report: Report) -> None:
    mesh = make_mesh(1, 1, 1, jax.devices()[:1])
    optimizer = make_optimizer(golden.step_config.optimizer)
    state = new_state(golden.params, golden.stats, optimizer)
    state = jax.device_put(state, state_shardings(state, mesh))
    step = compile_train_step(golden.step_config, mesh, state)
    rates, errors = [], dict.fromkeys(LOSS_COLUMNS, 0.0)
    for index, expected in enumerate(golden.expected["trajectory"]):
        state, metrics = step(state, jax.device_put(golden.batch(index), batch_sharding(mesh)))
        rates.append(abs(float(metrics["learning_rate"]) / expected[0] - 1))
        for column, value in zip(LOSS_COLUMNS, expected[1:], strict=True):
            error = abs(float(metrics[column]) - value) / abs(value)
            errors[column] = max(errors[column], error)
    report.check("trajectory, learning rate (relative)", max(rates), 1e-6)
    for column, error in errors.items():
        report.check(f"trajectory, {column} (relative)", error, 1e-4)
    check_final(golden, report, state)


def check_final(golden: Golden, report: Report, state) -> None:
    """Final weights and EMA by relative L2 a tensor.

    Biases before a BatchNorm have a true gradient of zero: rounding noise moves them through Adam,
    and the running means with them, by up to the sum of the learning rates.
    """
    travelled = float(golden.expected["trajectory"][:, 0].sum())
    plain = flatten(state.params) | flatten(state.stats)
    ema = flatten(state.ema_params) | flatten(state.ema_stats)
    worst = {"final": 0.0, "ema": 0.0}
    worst_noise = dict(worst)
    seen: dict[str, set[str]] = {"final": set(), "ema": set()}
    for key, expected in golden.final.items():
        group, name = key.split("/", 1)
        if name.endswith("num_batches_tracked"):
            continue
        which, arrays = ("ema", ema) if group.startswith("ema_") else ("final", plain)
        path = from_pytorch(group.removeprefix("ema_"), name)
        if path not in arrays:
            continue  # a head that this configuration does not use, and does not train
        seen[which].add(path)
        expected = array_from_pytorch(path, expected)
        if ("set_abstraction/convs" in path and path.endswith("bias")) or path.endswith("/mean"):
            worst_noise[which] = max(worst_noise[which], largest_error(arrays[path], expected))
            continue
        error = np.linalg.norm(arrays[path] - expected) / max(np.linalg.norm(expected), 1e-12)
        worst[which] = max(worst[which], float(error))
    report.check("weights without a golden final value", len(plain.keys() - seen["final"]), 0)
    encoder = {path for path in ema if path.startswith("encoder/")}
    report.check("encoder weights without a golden EMA", len(encoder - seen["ema"]), 0)
    for which in worst:
        report.check(f"{which} weights (relative L2)", worst[which], 1e-3)
        report.check(f"{which} biases before a BatchNorm", worst_noise[which], travelled)


def run(folder: Path) -> int:
    """All checks of one folder; returns how many failed."""
    golden, report = Golden(folder), Report()
    check_grouping(golden, report)
    check_outputs(golden, report)
    check_gradients(golden, report)
    check_trajectory(golden, report)
    return report.failures


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(min(run(Path(sys.argv[1])), 100))
