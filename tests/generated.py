"""Data sets and configs that tests make for themselves."""

from pathlib import Path

import numpy as np

from configs import base
from mixcon3d_jax.data.schema import DatasetCard, Record, Text
from mixcon3d_jax.data.writer import write_dataset

CLASSES = ("ball", "disc", "rod", "shell")
CLIP_ID = "generated-clip"
EMBEDDING_SIZE = 16

_STRETCH = {"ball": (1, 1, 1), "disc": (1, 0.1, 1), "rod": (0.1, 1, 0.1), "shell": (1, 1, 1)}


def class_embeddings() -> np.ndarray:
    """A unit vector for each class."""
    rows = np.random.default_rng(7).normal(size=(len(CLASSES), EMBEDDING_SIZE))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def make_record(index: int, split: str, *, num_points: int = 200, texts: bool = True) -> Record:
    """A blob whose form, views and text say its class."""
    rng = np.random.default_rng([index, *split.encode()])
    class_name = CLASSES[index % len(CLASSES)]
    points = rng.normal(size=(num_points, 3))
    if class_name == "shell":
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    points = points * _STRETCH[class_name] * rng.uniform(0.5, 2) + rng.normal(size=3)
    meaning = class_embeddings()[CLASSES.index(class_name)]

    def near(*shape: int) -> np.ndarray:
        return meaning + 0.05 * rng.normal(size=(*shape, EMBEDDING_SIZE)).astype(np.float32)

    return Record(
        id=f"{split}/{index}",
        dataset="generated",
        class_name=class_name,
        points=points.astype(np.float32),
        colors=rng.integers(0, 256, (num_points, 3)).astype(np.uint8),
        view_embeddings=near(12),
        thumbnail_embedding=near(1) if index % 3 == 0 else np.zeros((0, EMBEDDING_SIZE)),
        texts=(
            Text(f"a {class_name}", "text", original=near(), prompt_avg=near()),
            Text("something", "caption", original=near()),
        )
        if texts
        else (),
    )


def make_dataset(directory: Path, train: int = 64, test: int = 24) -> Path:
    """A data set with the splits `train` and `test`; every tenth record has no text."""
    card = DatasetCard("generated", CLIP_ID, EMBEDDING_SIZE, 200, 12, CLASSES)
    splits = {
        split: [make_record(i, split, texts=i % 10 != 9) for i in range(count)]
        for split, count in (("train", train), ("test", test))
    }
    write_dataset(directory, card, splits, class_embeddings(), records_per_shard=20)
    return directory


def small_config(data: Path):
    """The base config with a model and a batch that a test can afford."""
    config = base.get_config()
    config.clip.id, config.clip.embedding_size = CLIP_ID, EMBEDDING_SIZE
    config.data.root = str(data)
    config.data.num_points = 128
    sizes = {"dim": 32, "depth": 2, "heads": 2, "mlp_dim": 64, "sa_dim": 16, "patches": 16}
    for key, value in (sizes | {"radius": 0.5, "neighbors": 16}).items():
        config.model.encoder[key] = value
    config.optim.batch_size, config.optim.epochs, config.optim.warmup_epochs = 16, 5.0, 1.0
    config.optim.learning_rate, config.optim.ema_decay = 3e-3, 0.8
    config.checkpoint.every_steps, config.log.every_steps = 8, 4
    config.eval.batch_size = 8
    with config.unlocked():
        config.eval.benchmarks.held_out = base.benchmark("test")
    return config
