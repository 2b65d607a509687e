"""The towers against outputs of transformers' PyTorch CLIPModel, and their rules one by one."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mixcon3d_jax.models.clip import (
    FLOAT32,
    Clip,
    ClipConfig,
    Numerics,
    TextConfig,
    TextTower,
    VisionConfig,
)
from mixcon3d_jax.models.clip_config import read_config
from mixcon3d_jax.models.clip_weights import load_clip
from mixcon3d_jax.models.layers import normalize
from tests.golden_clip_check import TOLERANCE, largest_errors

DATA = Path(__file__).parent / "data"
REFERENCES = sorted(DATA.glob("clip_*"))

SIZES = {"width": 8, "layers": 1, "heads": 2, "mlp_width": 12, "layer_norm_eps": 1e-5}
VISION = VisionConfig(**SIZES, activation="gelu", image_size=8, patch_size=4, channels=3)
TEXT = TextConfig(**SIZES, activation="gelu", vocab_size=20, context_length=6, eos_id=19)
CONFIG = ClipConfig(vision=VISION, text=TEXT, embedding_size=5)


def text_tower(eos_id: int) -> TextTower:
    return TextTower(
        TextConfig(**SIZES, activation="gelu", vocab_size=20, context_length=6, eos_id=eos_id),
        5,
        rngs=nnx.Rngs(0),
    )


@pytest.mark.parametrize("folder", REFERENCES, ids=lambda folder: folder.name)
def test_towers_equal_pytorch(folder):
    errors = largest_errors(folder)
    assert set(errors) == {"text_embeds", "image_embeds"}
    assert max(errors.values()) <= TOLERANCE


def test_towers_equal_the_golden_numbers(golden_folders):
    folders = sorted(golden_folders.glob("clip_*"))
    assert folders
    for folder in folders:
        assert max(largest_errors(folder).values()) <= TOLERANCE


def test_the_references_cover_both_activations_and_both_end_rules():
    configs = [read_config(folder) for folder in REFERENCES]
    assert {config.vision.activation for config in configs} == {"gelu", "quick_gelu"}
    assert {config.text.eos_id == 2 for config in configs} == {True, False}


def test_end_is_the_first_eos_id():
    ends = text_tower(eos_id=7).ends(jnp.array([[18, 3, 7, 19, 7, 7], [18, 7, 1, 1, 1, 1]]))
    np.testing.assert_array_equal(ends, [2, 1])


def test_end_is_the_first_highest_id_under_the_legacy_rule():
    ends = text_tower(eos_id=2).ends(jnp.array([[18, 3, 2, 19, 7, 19], [18, 19, 1, 1, 1, 1]]))
    np.testing.assert_array_equal(ends, [3, 1])


def test_nothing_after_the_end_of_a_text_matters():
    tower = text_tower(eos_id=19)
    with_padding = tower(jnp.array([[18, 3, 4, 19, 0, 0], [18, 3, 4, 19, 11, 12]]))
    without = tower(jnp.array([[18, 3, 4, 19]]))
    np.testing.assert_allclose(with_padding, jnp.repeat(without, 2, axis=0), atol=1e-6)


def test_a_text_longer_than_the_context_is_refused():
    with pytest.raises(ValueError, match="7 tokens: at most 6"):
        text_tower(eos_id=19)(jnp.zeros((1, 7), int))


def test_images_of_another_size_are_refused():
    vision = Clip(CONFIG, rngs=nnx.Rngs(0)).vision
    with pytest.raises(ValueError, match=r"expected \(n, 8, 8, 3\)"):
        vision(jnp.zeros((1, 9, 9, 3)))


def test_patches_come_row_by_row():
    image = jnp.arange(8 * 8 * 3).reshape(1, 8, 8, 3)
    patches = Clip(CONFIG, rngs=nnx.Rngs(0)).vision.patchify(image)
    np.testing.assert_array_equal(patches[0, 1], image[0, :4, 4:].reshape(-1))
    np.testing.assert_array_equal(patches[0, 2], image[0, 4:, :4].reshape(-1))


def test_float32_products_ask_for_the_highest_precision():
    clip = Clip(CONFIG, rngs=nnx.Rngs(0))
    ids, images = jnp.zeros((1, 6), int), jnp.zeros((1, 8, 8, 3))
    for tower, inputs in ((clip.text, ids), (clip.vision, images)):
        program = jax.jit(tower).lower(inputs).as_text()
        products = [line for line in program.splitlines() if "dot_general" in line]
        assert products
        assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)


def test_bfloat16_stays_close_to_float32():
    folder = REFERENCES[0]
    config = read_config(folder)
    half = load_clip(folder, config, Numerics(dtype=jnp.bfloat16))
    full = load_clip(folder, config, FLOAT32)
    images = jax.random.normal(jax.random.key(0), (4, 13, 13, 3))
    ids = jnp.array([[38, 5, 6, 39, 39], [38, 7, 39, 39, 39]])
    for tower, inputs in (("vision", images), ("text", ids)):
        low, high = getattr(half, tower)(inputs), getattr(full, tower)(inputs)
        assert low.dtype == jnp.bfloat16
        cosines = jnp.sum(normalize(low) * normalize(high), axis=-1)
        assert float(cosines.min()) > 0.999
