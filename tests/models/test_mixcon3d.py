import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mixcon3d_jax.models.mixcon3d import INITIAL_LOGIT_SCALE, MixCon3D, MixCon3DConfig
from mixcon3d_jax.models.pointbert import PointBERTConfig
from mixcon3d_jax.models.variables import flatten, split_module

CONFIG = MixCon3DConfig(PointBERTConfig(32, 1, 1, 48, 24, 8, 0.5, 10), embedding_size=12)


def model(**changes) -> MixCon3D:
    return MixCon3D(dataclasses.replace(CONFIG, **changes), rngs=nnx.Rngs(0))


def views(count=4):
    return jnp.asarray(np.random.default_rng(0).normal(size=(3, count, 12)), jnp.float32)


@pytest.mark.parametrize("pooling", ["avg", "max", "avg_proj", "max_proj"])
def test_views_are_projected_then_pooled(pooling):
    built = model(view_pooling=pooling)
    projected = np.asarray(views()) @ np.asarray(built.text_proj.kernel[...])
    projected = projected + np.asarray(built.text_proj.bias[...])
    expected = projected.mean(axis=1) if pooling.startswith("avg") else projected.max(axis=1)
    if pooling.endswith("_proj"):
        proj = built.multi_view_proj
        expected = expected @ np.asarray(proj.kernel[...]) + np.asarray(proj.bias[...])
    np.testing.assert_allclose(built.embed_views(views()), expected, atol=1e-5)


def test_shared_projection_is_the_texts():
    text = views()[:, 0]
    shared = model(share_proj=True)
    np.testing.assert_array_equal(shared.embed_views(text[:, None]), shared.embed_text(text))
    own = model(share_proj=False)
    assert np.abs(own.embed_views(text[:, None]) - own.embed_text(text)).max() > 0.01


def test_only_the_heads_in_use_have_weights():
    def heads(**changes):
        _, params, _ = split_module(model(**changes))
        return {path.split("/")[0] for path in flatten(params)} - {"encoder", "logit_scales"}

    assert heads() == {"text_proj", "fusion"}
    assert heads(share_proj=False) == {"text_proj", "image_proj", "fusion"}
    assert heads(view_pooling="max_proj") == {"text_proj", "multi_view_proj", "fusion"}


def test_mlp_heads_have_two_layers():
    _, params, _ = split_module(model(head="mlp"))
    assert flatten(params)["fusion/fc1/kernel"].shape == (24, 12)
    assert flatten(params)["text_proj/fc2/kernel"].shape == (12, 12)


def test_temperatures_start_at_the_originals():
    for scale in model().logit_scales.values():
        assert np.exp(scale[...]) == pytest.approx(14.28)
    assert pytest.approx(2.65886, abs=1e-5) == INITIAL_LOGIT_SCALE


def test_fusion_takes_point_then_image():
    built = model()
    point, image = views()[:, 0], views()[:, 1]
    expected = np.concatenate([point, image], axis=-1) @ np.asarray(built.fusion.kernel[...])
    found = built.fuse(point, image)
    np.testing.assert_allclose(found, expected + np.asarray(built.fusion.bias[...]), atol=1e-5)
