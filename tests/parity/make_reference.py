"""Makes reference numbers with the PyTorch mirror: `python -m tests.parity.make_reference OUTPUT`.

Needs an environment with torch.  OUTPUT gets the files that `tests.golden_check` reads;
`tests/reference/mixcon3d` was made by this command.  Dimensions are small and unlike one another,
so that two of them exchanged do not go unnoticed.
"""

import copy
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mixcon3d_jax.models.mixcon3d import MixCon3DConfig
from mixcon3d_jax.models.pointbert import PointBERTConfig
from mixcon3d_jax.training.optimizer import OptimizerConfig
from tests.parity.pytorch_mirror import Mirror, ball, farthest_points, select
from tests.parity.pytorch_training import (
    Trainer,
    loss_terms,
    named_gradients,
    named_weights,
)

MODEL = MixCon3DConfig(
    PointBERTConfig(
        dim=12, depth=2, heads=3, mlp_dim=20, sa_dim=16, patches=14, radius=0.35, neighbors=18
    ),
    embedding_size=24,
)
OPTIMIZER = OptimizerConfig(
    learning_rate=2e-3,
    min_learning_rate=4e-4,
    warmup_steps=2,
    total_steps=8,
    beta1=0.8,
    beta2=0.99,
    epsilon=1e-7,
    weight_decay=0.03,
)
EMA_DECAY = 0.7
BATCH, POINTS, VIEWS = 6, 180, 3


def random_model(config: MixCon3DConfig, seed: int) -> Mirror:
    """A model whose norms, statistics and temperatures are random too.

    One temperature starts beyond the upper clamp and one next to the lower.  All weights fit
    float16, so that their file stays small.
    """
    torch.manual_seed(seed)
    model = Mirror(config)
    with torch.no_grad():
        for name, weight in model.state_dict().items():
            if name.endswith("num_batches_tracked"):
                continue
            if name.endswith("running_var"):
                weight.uniform_(0.5, 1.5)
            elif weight.ndim == 1:
                weight.add_(0.2 * torch.randn_like(weight))
            weight.copy_(weight.half())
        model.image_logit_scale.logit_scale.fill_(4.75)
        model.img_text_logit_scale.logit_scale.fill_(2**-12)
    return model


def random_batches(
    config: MixCon3DConfig, steps: int, *, rows: int, points: int, views: int, seed: int
) -> dict[str, np.ndarray]:
    """Clouds denser in the middle, of largest norm 1, so that some balls overflow and some do not.

    Every array begins with (steps, rows) and fits float16.
    """
    rng = np.random.default_rng(seed)
    xyz = rng.normal(size=(steps, rows, points, 3))
    xyz *= rng.uniform(size=(steps, rows, points, 1)) ** 0.7
    xyz -= xyz.mean(2, keepdims=True)
    xyz /= np.linalg.norm(xyz, axis=-1, keepdims=True).max(2, keepdims=True)
    size = config.embedding_size
    arrays = {
        "xyz": xyz,
        "rgb": rng.uniform(size=xyz.shape),
        "text_feat": rng.normal(size=(steps, rows, size)),
        "img_feat": rng.normal(size=(steps, rows, views, size)),
    }
    return {name: array.astype(np.float16).astype(np.float32) for name, array in arrays.items()}


def torch_batch(batches: dict[str, np.ndarray], step: int) -> dict[str, torch.Tensor]:
    """The batch of one step; without a `has_text` all rows have one."""
    batch = {name: torch.from_numpy(array[step]) for name, array in batches.items()}
    return {"has_text": torch.ones(len(batch["xyz"]), dtype=torch.bool)} | batch


def expected_numbers(model: Mirror, batch: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Groups, encoder outputs and gradients for one batch; leaves the model as it is."""
    model, settings = copy.deepcopy(model), model.config.encoder
    index = farthest_points(batch["xyz"], settings.patches)
    centers = select(batch["xyz"], index)
    near = ball(batch["xyz"], centers, settings.radius, settings.neighbors)
    clouds = batch["xyz"], batch["rgb"]
    with torch.no_grad():
        centroids, features = model.eval().encoder.ppat.sa(*clouds)
        eval_output = model.encoder(*clouds)
    train_output = model.train().encoder(*clouds)
    sum(loss_terms(model, batch).values()).backward()
    numbers = {
        "fps_idx": index,
        "ball_idx": near,
        "sa_centroids": centroids,
        "sa_features": features,
        "eval_pc_feat": eval_output,
        "train_pc_feat": train_output,
    }
    gradients = {f"grad/{name}": array for name, array in named_gradients(model).items()}
    return {name: tensor.detach().numpy() for name, tensor in numbers.items()} | gradients


def config_file() -> dict[str, Any]:
    """The content of `config.json`."""
    dims = dataclasses.asdict(MODEL.encoder)
    dims["prad"], dims["nsamp"] = dims.pop("radius"), dims.pop("neighbors")
    return {
        "model": dims | {"out": MODEL.embedding_size},
        "batch": BATCH,
        "points": POINTS,
        "views": VIEWS,
        "steps": OPTIMIZER.total_steps,
        "base_lr": OPTIMIZER.learning_rate,
        "min_lr": OPTIMIZER.min_learning_rate,
        "warmup_steps": OPTIMIZER.warmup_steps,
        "betas": [OPTIMIZER.beta1, OPTIMIZER.beta2],
        "eps": OPTIMIZER.epsilon,
        "weight_decay": OPTIMIZER.weight_decay,
        "ema_decay": EMA_DECAY,
    }


def write_reference(folder: Path) -> None:
    """Writes the five files."""
    steps = OPTIMIZER.total_steps
    model = random_model(MODEL, seed=0)
    batches = random_batches(MODEL, steps, rows=BATCH, points=POINTS, views=VIEWS, seed=1)
    initial = named_weights(dict(model.named_children()))
    expected = expected_numbers(model, torch_batch(batches, 0))
    trainer = Trainer(model, OPTIMIZER, EMA_DECAY)
    rows = [trainer.update(torch_batch(batches, step)) for step in range(steps)]
    expected["trajectory"] = np.array(rows)
    final = named_weights(trainer.groups) | named_weights(trainer.ema, "ema_")

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config_file(), indent=1) + "\n")
    arrays = {"init": initial, "batches": batches, "expected": expected, "final": final}
    for name, content in arrays.items():
        np.savez_compressed(folder / f"{name}.npz", **content)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write_reference(Path(sys.argv[1]))
