"""The towers against transformers' PyTorch CLIPModel, computed side by side at reduced width."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mixcon3d_jax.models.clip_config import read_config  # noqa: E402
from mixcon3d_jax.models.clip_weights import load_clip  # noqa: E402
from tests.parity.make_clip_reference import (  # noqa: E402
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
