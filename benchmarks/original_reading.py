"""Training samples as the original makes them: pickled dicts, one shape after another, in NumPy.

Written for comparison alone, from the description of its steps; the operations are of the same kind
and number, and nothing is tuned.
"""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

NUM_VIEWS = 4
GREY = 0.4


def read_batch(paths: Sequence[Path], num_points: int) -> list[np.ndarray]:
    """A batch: clouds (B, N, 6), views (B, 4, D), texts (B, D), all float32."""
    samples = [read_sample(path, num_points) for path in paths]
    return [np.stack(column) for column in zip(*samples, strict=True)]


def read_sample(path: Path, num_points: int) -> tuple[np.ndarray, ...]:
    """One augmented sample of a file."""
    # The benchmark wrote the files itself: what they unpickle is known.
    fields = np.load(path, allow_pickle=True).item()
    drawn = random.sample(range(len(fields["xyz"])), num_points)
    cloud = _unit_cloud(fields["xyz"][drawn][:, [0, 2, 1]])
    colors = fields["rgb"][drawn]
    if random.random() < 0.5:
        colors = np.full_like(colors, GREY)
    parts = (np.hstack([_augmented(cloud), colors]), _views(fields), _text(fields))
    return tuple(part.astype(np.float32) for part in parts)


def _unit_cloud(cloud: np.ndarray) -> np.ndarray:
    cloud = cloud - cloud.mean(axis=0)
    return cloud / np.linalg.norm(cloud, axis=1).max()


def _augmented(cloud: np.ndarray) -> np.ndarray:
    lost = np.random.random(len(cloud)) < random.uniform(0, 0.875)
    cloud[lost] = cloud[0]
    cloud = cloud * random.uniform(0.8, 1.25)
    cloud = cloud + np.random.uniform(-0.1, 0.1, 3)
    small = (np.random.normal(0, 0.06, 3)).clip(-0.18, 0.18)
    tilt = np.linalg.multi_dot([_turn(axis, small[axis]) for axis in (2, 1, 0)])
    tilted = (cloud @ tilt).astype(np.float32)
    return tilted @ _turn(2, random.uniform(0, 2 * np.pi))


def _turn(axis: int, angle: float) -> np.ndarray:
    """The matrix of a rotation about one axis."""
    matrix = np.roll(np.diag([np.cos(angle), np.cos(angle), 1]), (axis + 1, axis + 1), (0, 1))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix[second, first] = np.sin(angle)
    matrix[first, second] = -matrix[second, first]
    return matrix


def _views(fields: dict) -> np.ndarray:
    renders = fields["image_feat"]
    chosen = renders[[random.randrange(len(renders)) for _ in range(NUM_VIEWS)]]
    if random.random() < 0.5:
        chosen[0] = fields["thumbnail_feat"]
    return chosen


def _text(fields: dict) -> np.ndarray:
    pool = [fields["text_feat"][0]["prompt_avg"]]
    caption = random.choice(["blip_caption", "msft_caption"])
    if fields[caption]:
        pool.append(fields[f"{caption}_feat"]["prompt_avg"])
    if fields["retrieval_text_feat"]:
        pool.append(random.choice(fields["retrieval_text_feat"])["original"])
    return random.choice(pool).reshape(-1)
