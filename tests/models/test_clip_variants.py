"""The published CLIPs have as many parameters as are known of them."""

import dataclasses
import math

import jax
import pytest
from flax import nnx

from mixcon3d_jax.models.clip import Clip, ClipConfig
from mixcon3d_jax.models.clip_variants import VARIANTS

# Without the temperature that their files hold, too.
PARAMETERS = {
    "openai/clip-vit-base-patch32": 151_277_312,
    "openai/clip-vit-base-patch16": 149_620_736,
    "openai/clip-vit-large-patch14": 427_616_512,
    "openai/clip-vit-large-patch14-336": 427_944_192,
    "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": 986_109_440,
    "laion/CLIP-ViT-g-14-laion2B-s12B-b42K": 1_366_678_272,
    "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k": 2_539_567_104,
}


def count(config: ClipConfig, vision_layers: int, text_layers: int) -> int:
    """Parameters of a CLIP of so many layers, which are not made."""
    config = dataclasses.replace(
        config,
        vision=dataclasses.replace(config.vision, layers=vision_layers),
        text=dataclasses.replace(config.text, layers=text_layers),
    )
    shapes = nnx.eval_shape(lambda: nnx.state(Clip(config, rngs=nnx.Rngs(0)), nnx.Param))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize("name", VARIANTS)
def test_the_number_of_parameters(name):
    config = VARIANTS[name]
    # All layers of a tower are alike, and making none of them takes seconds less.
    none = count(config, 0, 0)
    vision, text = count(config, 1, 0) - none, count(config, 0, 1) - none
    found = none + config.vision.layers * vision + config.text.layers * text
    assert found == PARAMETERS[name]
