"""One's own assets: any folder that `data_prep.assets` prepared with the small CLIP.

For a CLIP of your own set `config.clip.id` and `config.clip.embedding_size` to what the data set's
`card.json` says.
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
    """Give the data set with `--config.data.root=DIR`."""
    config = base.get_config()
    config.clip.id = "mixcon3d-jax/small-clip"
    config.clip.embedding_size = 128
    config.data.num_points = 2048
    config.model.encoder.dim = 128
    config.model.encoder.depth = 4
    config.model.encoder.heads = 2
    config.model.encoder.mlp_dim = 256
    config.model.encoder.sa_dim = 128
    config.model.encoder.patches = 64
    config.model.encoder.radius = 0.35
    config.model.encoder.neighbors = 32
    config.optim.batch_size = 64
    config.optim.epochs = 100.0
    config.optim.warmup_epochs = 5.0
    config.optim.learning_rate = 2e-3
    config.optim.ema_decay = 0.95
    config.checkpoint.every_steps = 200
    config.eval.batch_size = 64
    with config.unlocked():
        config.eval.benchmarks.held_out = base.benchmark("test", required=False)
    return config
