"""PointBERT as OpenShape and MixCon3D train it (Point-BERT, arXiv 2111.14819; 2305.10764)."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Integer

from mixcon3d_jax.models.batch_norm import BatchNorm
from mixcon3d_jax.models.grouping import ball_query, farthest_point_sample, gather_points
from mixcon3d_jax.models.layers import LayerNorm, PointConv, linear
from mixcon3d_jax.models.transformer import Block

_POINT_CHANNELS = 9  # offset from the center, coordinates, colour


@dataclasses.dataclass(frozen=True)
class PointBERTConfig:
    """Dimensions of the point encoder.

    Attributes:
      dim: width of the transformer.
      depth: number of blocks.
      heads: attention heads of 64 a block.
      mlp_dim: hidden width of a block's MLP.
      sa_dim: channels of the set abstraction's output.
      patches: number of groups (S).
      radius: of a group's ball, in units of the normalised cloud (largest norm 1).
      neighbors: points a group (K).
    """

    dim: int
    depth: int
    heads: int
    mlp_dim: int
    sa_dim: int
    patches: int
    radius: float
    neighbors: int


# OpenShape's scaling series; 3 is MixCon3D's model, 4 is OpenShape's.
SCALINGS: dict[int, PointBERTConfig] = {
    1: PointBERTConfig(256, 6, 4, 1024, 96, 64, 0.4, 256),
    2: PointBERTConfig(512, 6, 8, 1024, 128, 64, 0.4, 256),
    3: PointBERTConfig(512, 12, 8, 1024, 128, 128, 0.35, 128),
    4: PointBERTConfig(512, 12, 8, 1536, 256, 384, 0.2, 64),
    5: PointBERTConfig(768, 12, 12, 2304, 256, 512, 0.2, 64),
    6: PointBERTConfig(768, 24, 12, 3072, 256, 512, 0.2, 64),
}


class Groups(NamedTuple):
    """Which points make up the groups of each cloud.

    Attributes:
      centers: the points that the groups lie around.
      neighbors: the points of each group.
    """

    centers: Integer[Array, "batch patches"]
    neighbors: Integer[Array, "batch patches neighbors"]


def find_groups(points: Float[Array, "batch points 3"], config: PointBERTConfig) -> Groups:
    """The groups of normalised clouds, on which no parameter has any influence."""
    with jax.named_scope("sampling"):
        centers = farthest_point_sample(points, config.patches)
        around = gather_points(points, centers)
    with jax.named_scope("ball_query"):
        return Groups(centers, ball_query(points, around, config.radius, config.neighbors))


class SetAbstraction(nnx.Module):
    """Groups points around sampled centers and describes each group by one vector."""

    def __init__(
        self, config: PointBERTConfig, *, dtype: jnp.dtype, remat: bool = False, rngs: nnx.Rngs
    ):
        self.config = config
        self.remat = remat
        widths = (_POINT_CHANNELS, 64, 64, config.sa_dim)
        # The first layer sees coordinates, which bfloat16 would round by up to 1/256.
        dtypes = (jnp.float32, dtype, dtype)
        self.convs = nnx.List(
            PointConv(i, o, dtype=t, rngs=rngs)
            for i, o, t in zip(widths[:-1], widths[1:], dtypes, strict=True)
        )
        self.norms = nnx.List(BatchNorm(width) for width in widths[1:])

    def __call__(
        self,
        points: Float[Array, "batch points 3"],
        colors: Float[Array, "batch points 3"],
        *,
        groups: Groups | None = None,
        train: bool,
    ) -> tuple[Float[Array, "batch patches 3"], Float[Array, "batch patches sa_dim"]]:
        """The centers of the groups (see `PointBERT`) and their features."""
        groups = find_groups(points, self.config) if groups is None else groups
        with jax.named_scope("gather"):
            centers = gather_points(points, groups.centers)
            grouped = gather_points(jnp.concatenate([points, colors], axis=-1), groups.neighbors)
            offset = grouped[..., :3] - centers[:, :, None]
            x = jnp.concatenate([offset, grouped], axis=-1)
        # Sampling and grouping are not computed anew: they take longer than the network.
        describe = SetAbstraction.describe
        describe = nnx.remat(describe, static_argnums=2) if self.remat else describe
        return centers, describe(self, x, train)

    @jax.named_scope("set_abstraction")
    def describe(
        self, groups: Float[Array, "batch patches neighbors channels"], train: bool
    ) -> Float[Array, "batch patches sa_dim"]:
        """One vector for each group, whatever the order of its points."""
        batch, patches, neighbors, channels = groups.shape
        x = groups.reshape(-1, channels)
        for conv, norm in zip(self.convs[:-1], self.norms[:-1], strict=True):
            x = jax.nn.relu(norm(conv(x), conv.bias[...], train=train))
        last, norm = self.convs[-1], self.norms[-1]
        # Grouped before the product: behind it, a TPU's compiler would write out what the gradient
        # of the maximum spreads over a group.
        x = last(x.reshape(batch * patches, neighbors, -1))
        largest = norm.largest(x, last.bias[...], train=train)
        return jax.nn.relu(largest).reshape(batch, patches, -1)


class PointBERT(nnx.Module):
    """A coloured point cloud to an embedding of `embedding_size`.

    Args:
      config: dimensions, for example `SCALINGS[3]`.
      embedding_size: D, that of the CLIP whose space the embedding lives in.
      dtype: of the transformer's and the set abstraction's products; coordinates, statistics and
        the output are float32 in any case.
      remat: compute blocks and the groups' network anew in the backward pass, instead of keeping
        what is inside them.
      rngs: for the initial weights.
    """

    def __init__(
        self,
        config: PointBERTConfig,
        embedding_size: int,
        *,
        dtype: jnp.dtype = jnp.float32,
        remat: bool = False,
        rngs: nnx.Rngs,
    ):
        self.dtype = dtype
        self.remat = remat
        self.set_abstraction = SetAbstraction(config, dtype=dtype, remat=remat, rngs=rngs)
        self.lift = linear(3 + config.sa_dim, config.dim, rngs=rngs)
        self.lift_norm = LayerNorm(config.dim, dtype=dtype)
        self.cls_token = nnx.Param(jax.random.normal(rngs.params(), (config.dim,)))
        self.blocks = nnx.List(
            Block(config.dim, config.heads, config.mlp_dim, dtype=dtype, rngs=rngs)
            for _ in range(config.depth)
        )
        self.proj = linear(config.dim, embedding_size, rngs=rngs)

    def __call__(
        self,
        points: Float[Array, "batch points 3"],
        colors: Float[Array, "batch points 3"],
        *,
        groups: Groups | None = None,
        train: bool = False,
    ) -> Float[Array, "batch D"]:
        """Embeds clouds.

        Args:
          points: normalised (mean 0, largest norm 1) coordinates in random order.
          colors: sRGB in 0..1.
          groups: of `find_groups`; default: they are found here.
          train: use and update the statistics of this batch instead of the running ones.
        """
        centers, features = self.set_abstraction(points, colors, groups=groups, train=train)
        tokens = jnp.concatenate([centers, features], axis=-1)
        tokens = self.lift_norm(self.lift(tokens))
        cls = jnp.broadcast_to(self.cls_token[...], (tokens.shape[0], 1, tokens.shape[-1]))
        x = jnp.concatenate([cls.astype(self.dtype), tokens], axis=1)
        apply = nnx.remat(Block.__call__) if self.remat else Block.__call__
        with jax.named_scope("blocks"):
            for block in self.blocks:
                x = apply(block, x)
        return self.proj(x[:, 0].astype(jnp.float32))
