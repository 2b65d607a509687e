"""The towers against transformers' PyTorch CLIPModel, computed side by side at reduced width."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from transformers import (  # noqa: E402
    AutoTokenizer,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
)

from mixcon3d_jax.models.clip_config import read_config  # noqa: E402
from mixcon3d_jax.models.clip_folder import ClipFolder  # noqa: E402
from mixcon3d_jax.models.clip_hub import small_clip_folder  # noqa: E402
from mixcon3d_jax.models.clip_variants import VARIANTS  # noqa: E402
from mixcon3d_jax.models.clip_weights import load_clip  # noqa: E402
from tests.parity.make_clip_reference import (  # noqa: E402
    END,
    embeddings,
    random_inputs,
    random_model,
    reduced_config,
)

TOLERANCE = 1e-4


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu", "gelu_new", "relu", "silu"])
@pytest.mark.parametrize("eos_id", [2, 39], ids=["legacy_rule", "eos_id_rule"])
@pytest.mark.parametrize("shards", [False, True], ids=["one_file", "shards"])
def test_towers_equal_pytorch(tmp_path, activation, eos_id, shards):
    config = reduced_config(activation, eos_id)
    model = random_model(config, seed=3)
    ids, pixels = random_inputs(config, seed=4)
    text, image = embeddings(model, ids, pixels)
    model.save_pretrained(tmp_path, max_shard_size="10KB" if shards else "1GB")

    clip = load_clip(tmp_path, read_config(tmp_path))
    np.testing.assert_allclose(clip.text(ids), text, atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(
        clip.vision(pixels.transpose(0, 2, 3, 1)), image, atol=TOLERANCE, rtol=0
    )


def reduced_variant(name: str) -> CLIPConfig:
    """A published CLIP with narrow heads, three layers, four by four patches and few words."""

    def transformer(tower) -> dict:
        width = 4 * tower.heads
        return {
            "hidden_size": width,
            "num_hidden_layers": 3,
            "num_attention_heads": tower.heads,
            "intermediate_size": width * tower.mlp_width // tower.width,
            "hidden_act": tower.activation,
            "layer_norm_eps": tower.layer_norm_eps,
        }

    clip = VARIANTS[name]
    return CLIPConfig(
        projection_dim=clip.embedding_size // 64,
        text_config={
            **transformer(clip.text),
            "vocab_size": END + 1,
            "max_position_embeddings": 9,
            "eos_token_id": clip.text.eos_id,
            "bos_token_id": END - 1,
            "pad_token_id": 1,
        },
        vision_config={
            **transformer(clip.vision),
            "image_size": 4 * clip.vision.patch_size,
            "patch_size": clip.vision.patch_size,
        },
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_published_variants_equal_pytorch(tmp_path, name):
    config = reduced_variant(name)
    model = random_model(config, seed=5)
    ids, pixels = random_inputs(config, seed=6)
    text, image = embeddings(model, ids, pixels)
    model.save_pretrained(tmp_path)
    clip = load_clip(tmp_path, read_config(tmp_path))
    np.testing.assert_allclose(clip.text(ids), text, atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(
        clip.vision(pixels.transpose(0, 2, 3, 1)), image, atol=TOLERANCE, rtol=0
    )


def test_the_shipped_folder_is_a_clip_to_transformers_too():
    folder = small_clip_folder()
    texts = ["a red chair", "A lamp; with 2 arms!", "été 椅", "a very long text " * 20]
    images = list(np.random.default_rng(0).integers(0, 256, (3, 80, 96, 3), np.uint8))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(texts, padding=True, truncation=True, return_tensors="np")["input_ids"]
    processor = CLIPImageProcessorPil.from_pretrained(folder)
    pixels = processor(images, input_data_format="channels_last", return_tensors="np")
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    expected = embeddings(model, ids, pixels["pixel_values"])

    clip = ClipFolder.load(folder)
    found = clip.embed_texts(texts), clip.embed_images(images)
    for ours, theirs in zip(found, expected, strict=True):
        theirs = theirs / np.linalg.norm(theirs, axis=1, keepdims=True)
        np.testing.assert_allclose(ours, theirs, atol=TOLERANCE, rtol=0)
