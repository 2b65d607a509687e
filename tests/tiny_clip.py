"""A CLIP of random weights that a test can afford."""

from pathlib import Path

from flax import nnx

from data_prep.small_clip_folder import small_clip_config, write_settings, write_weights
from mixcon3d_jax.models.clip import Clip
from mixcon3d_jax.models.clip_config import read_config

TINY_CLIP_ID = "tiny-clip"
TINY_CLIP_SIZE = 32
TINY_CLIP_IMAGE_SIZE = 16


def make_tiny_clip(folder: Path) -> Path:
    """A CLIP folder with towers of one layer."""
    config = small_clip_config() | {
        "_name_or_path": TINY_CLIP_ID,
        "projection_dim": TINY_CLIP_SIZE,
    }
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    sizes |= {"num_attention_heads": 1, "projection_dim": TINY_CLIP_SIZE}
    config["text_config"] |= sizes
    config["vision_config"] |= sizes | {"image_size": TINY_CLIP_IMAGE_SIZE}
    write_settings(folder, config)
    write_weights(folder, Clip(read_config(folder), rngs=nnx.Rngs(0)), 4.6)
    return folder
