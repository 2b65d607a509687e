"""The original's algorithm in PyTorch, at its best on this machine: the other side of a benchmark.

The model and the training step are those that the parity tests compare with; here, farthest point
sampling is `fpsample`'s compiled one, and distances are a matrix product, as in the original.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import fpsample
import numpy as np
import torch
from torch import Tensor

from mixcon3d_jax.models.mixcon3d import MixCon3DConfig
from mixcon3d_jax.training.optimizer import OptimizerConfig
from tests.parity.pytorch_mirror import Mirror, first_inside
from tests.parity.pytorch_training import Trainer

torch.set_num_threads(len(os.sched_getaffinity(0)))
_THREADS = ThreadPoolExecutor(torch.get_num_threads())


def farthest_points(points: Tensor, count: int) -> Tensor:
    """Indices (B, count) by the compiled sampler, clouds in parallel."""
    clouds = points.detach().cpu().numpy()

    def sample(cloud: np.ndarray) -> np.ndarray:
        return fpsample.fps_sampling(cloud, count, start_idx=0).astype(np.int64)

    return torch.from_numpy(np.stack(list(_THREADS.map(sample, clouds)))).to(points.device)


def sorted_ball(points: Tensor, centers: Tensor, radius: float, count: int) -> Tensor:
    """Indices (B, S, count) by sorting all N, as the original does."""
    distance = (
        centers.square().sum(-1)[:, :, None]
        + points.square().sum(-1)[:, None]
        - 2 * centers @ points.mT
    )
    return first_inside(distance, radius, count)


def make_mirror(config: MixCon3DConfig) -> Mirror:
    """The model with random weights and this file's grouping."""
    mirror = Mirror(config)
    mirror.encoder.ppat.sa.sample = farthest_points
    mirror.encoder.ppat.sa.group = sorted_ball
    return mirror


def make_trainer(config: MixCon3DConfig, optimizer: OptimizerConfig, ema_decay: float) -> Trainer:
    """The training of such a model."""
    return Trainer(make_mirror(config), optimizer, ema_decay)
