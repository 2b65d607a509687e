"""The trained model: point encoder, projections, view pooling, fusion head, temperatures."""

import dataclasses
import math
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from mixcon3d_jax.models.layers import linear
from mixcon3d_jax.models.pointbert import Groups, PointBERT, PointBERTConfig

TEMPERATURES = ("point_text", "point_image", "image_text", "fused_text")
INITIAL_LOGIT_SCALE = math.log(14.28)
MAX_LOGIT_SCALE = math.log(100.0)

ViewPooling = Literal["avg", "max", "avg_proj", "max_proj"]


@dataclasses.dataclass(frozen=True)
class MixCon3DConfig:
    """Everything that decides the shapes of the weights and what is computed with them.

    Attributes:
      encoder: dimensions of the point encoder.
      embedding_size: D, that of the frozen CLIP.
      share_proj: images go through the texts' projection.
      head: `linear`, or `mlp` (two layers with GELU) for projections and fusion.
      view_pooling: how the projected views become one embedding; the `_proj` ones add a linear
        layer behind the pooling.
      dtype: of the encoder's products: `float32` or `bfloat16`.
      remat: the encoder's backward pass computes anew what it would else keep.
    """

    encoder: PointBERTConfig
    embedding_size: int
    share_proj: bool = True
    head: Literal["linear", "mlp"] = "linear"
    view_pooling: ViewPooling = "avg"
    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: bool = False


class MLPHead(nnx.Module):
    """Two linear layers with exact GELU between them."""

    def __init__(self, in_features: int, out_features: int, *, rngs: nnx.Rngs):
        self.fc1 = linear(in_features, out_features, rngs=rngs)
        self.fc2 = linear(out_features, out_features, rngs=rngs)

    def __call__(self, x: Float[Array, "*batch in"]) -> Float[Array, "*batch out"]:
        """The projection."""
        return self.fc2(jax.nn.gelu(self.fc1(x), approximate=False))


class MixCon3D(nnx.Module):
    """MixCon3D (arXiv 2311.01734): aligns points, views, their fusion, and texts.

    All embeddings it returns are float32 (batch, D) and not normalised.
    """

    def __init__(self, config: MixCon3DConfig, *, rngs: nnx.Rngs):
        self.config = config
        size = config.embedding_size
        head = {"linear": linear, "mlp": MLPHead}[config.head]
        self.encoder = PointBERT(
            config.encoder, size, dtype=jnp.dtype(config.dtype), remat=config.remat, rngs=rngs
        )
        self.text_proj = head(size, size, rngs=rngs)
        self.image_proj = None if config.share_proj else head(size, size, rngs=rngs)
        pooled_proj = config.view_pooling.endswith("_proj")
        self.multi_view_proj = linear(size, size, rngs=rngs) if pooled_proj else None
        self.fusion = head(2 * size, size, rngs=rngs)
        self.logit_scales = nnx.Dict(
            {name: nnx.Param(jnp.float32(INITIAL_LOGIT_SCALE)) for name in TEMPERATURES}
        )

    def embed_points(
        self,
        points: Float[Array, "batch points 3"],
        colors: Float[Array, "batch points 3"],
        *,
        groups: Groups | None = None,
        train: bool = False,
    ) -> Float[Array, "batch D"]:
        """Embeds normalised clouds with colours in 0..1 (see `PointBERT`)."""
        return self.encoder(points, colors, groups=groups, train=train)

    def embed_text(self, clip: Float[Array, "batch D"]) -> Float[Array, "batch D"]:
        """Projects CLIP text embeddings."""
        return self.text_proj(clip.astype(jnp.float32))

    def embed_views(self, clip: Float[Array, "batch views D"]) -> Float[Array, "batch D"]:
        """Projects the CLIP embeddings of a shape's views and pools them to one."""
        proj = self.text_proj if self.image_proj is None else self.image_proj
        views = proj(clip.astype(jnp.float32))
        pool = jnp.mean if self.config.view_pooling.startswith("avg") else jnp.max
        pooled = pool(views, axis=1)
        return pooled if self.multi_view_proj is None else self.multi_view_proj(pooled)

    def fuse(
        self, point: Float[Array, "batch D"], image: Float[Array, "batch D"]
    ) -> Float[Array, "batch D"]:
        """Fuses point and pooled image embeddings."""
        return self.fusion(jnp.concatenate([point, image], axis=-1))
