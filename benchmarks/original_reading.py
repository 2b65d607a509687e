"""Training samples as the original's program makes them: files of pickled dicts, NumPy, one by one.

Written for comparison alone, from the facts of what is done in which order; nothing is tuned.
"""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

NUM_VIEWS = 4
GREY = 0.4


def read_batch(paths: Sequence[Path], num_points: int) -> list[np.ndarray]:
    """A batch: points and colours (B, N, 6), views (B, 4, D), texts (B, D), all float32."""
    samples = [read_sample(path, num_points) for path in paths]
    return [np.stack(column) for column in zip(*samples, strict=True)]


def read_sample(path: Path, num_points: int) -> tuple[np.ndarray, ...]:
    """One augmented sample of a file."""
    # The benchmark wrote the files itself: what they unpickle is known.
    shape = np.load(path, allow_pickle=True).item()
    index = random.sample(range(len(shape["xyz"])), num_points)
    xyz, rgb = shape["xyz"][index], shape["rgb"][index]
    xyz[:, [1, 2]] = xyz[:, [2, 1]]
    xyz = xyz - np.mean(xyz, axis=0)
    xyz = xyz / np.max(np.linalg.norm(xyz, axis=1))
    xyz = _augment(xyz)
    if np.random.rand() < 0.5:
        rgb = np.ones_like(rgb) * GREY
    cloud = np.concatenate([xyz, rgb], axis=1)
    views = shape["image_feat"][np.random.randint(len(shape["image_feat"]), size=NUM_VIEWS)]
    if np.random.rand() < 0.5:
        views[0] = shape["thumbnail_feat"]
    return tuple(np.asarray(part, np.float32) for part in (cloud, views, _text(shape)))


def _augment(xyz: np.ndarray) -> np.ndarray:
    ratio = np.random.random() * 0.875
    dropped = np.where(np.random.random(len(xyz)) <= ratio)[0]
    xyz[dropped] = xyz[0]
    xyz = xyz * np.random.uniform(0.8, 1.25)
    xyz = xyz + np.random.uniform(-0.1, 0.1, 3)
    x, y, z = np.clip(0.06 * np.random.randn(3), -0.18, 0.18)
    xyz = np.dot(xyz, _rotation(2, z) @ _rotation(1, y) @ _rotation(0, x)).astype(np.float32)
    return np.matmul(xyz, _rotation(2, np.random.uniform(0, 2 * np.pi)))


def _rotation(axis: int, angle: float) -> np.ndarray:
    first, second = (i for i in range(3) if i != axis)
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
    return matrix


def _text(shape: dict) -> np.ndarray:
    pool = [shape["text_feat"][0]["prompt_avg"]]
    caption = "blip_caption" if np.random.rand() < 0.5 else "msft_caption"
    if shape[caption]:
        pool.append(shape[f"{caption}_feat"]["prompt_avg"])
    if shape["retrieval_text"]:
        retrieved = np.random.randint(len(shape["retrieval_text"]))
        pool.append(shape["retrieval_text_feat"][retrieved]["original"])
    return pool[np.random.randint(len(pool))].reshape(-1)
