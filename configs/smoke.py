"""The built-in run: a small encoder on built-in shapes, on 8 virtual CPU devices, in minutes."""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
    """For the data set that `make smoke` prepares with the small CLIP."""
    config = base.get_config()
    config.virtual_cpu_devices = 8
    config.clip.id = "mixcon3d-jax/small-clip"
    config.clip.embedding_size = 128
    config.data.root = "smoke_run/data"
    config.data.num_points = 1024
    config.model.encoder.dim = 128
    config.model.encoder.depth = 4
    config.model.encoder.heads = 2
    config.model.encoder.mlp_dim = 256
    config.model.encoder.sa_dim = 128
    config.model.encoder.patches = 48
    config.model.encoder.radius = 0.35
    config.model.encoder.neighbors = 32
    config.augment.max_dropout = 0.5
    config.optim.batch_size = 64
    config.optim.epochs = 36.0
    config.optim.warmup_epochs = 3.0
    config.optim.learning_rate = 2e-3
    config.optim.ema_decay = 0.99
    config.mesh.fsdp = 2
    config.checkpoint.every_steps = 200
    config.eval.batch_size = 64
    with config.unlocked():
        config.eval.benchmarks.builtin_seen = base.benchmark("seen")
        config.eval.benchmarks.builtin_unseen = base.benchmark("unseen")
        config.eval.benchmarks.builtin_unseen_names = base.benchmark("unseen", among="present")
    config.eval.retrieval = "builtin_seen,builtin_unseen"
    return config
