"""CLIP's vision and text towers, equal to Hugging Face transformers' `CLIPModel`.

The towers are frozen wherever this package trains 3D encoders: `nnx.split` gives a graph and a tree
of parameters that plain functions take as an argument.

Reference: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision",
https://arxiv.org/abs/2103.00020; `transformers/models/clip/modeling_clip.py`.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

# Text configs written before transformers 4.31 say 2, whatever the vocabulary: the tower then takes
# the highest id of a text for its end.
LEGACY_EOS_ID = 2

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "gelu_new": functools.partial(jax.nn.gelu, approximate=True),
    "gelu_pytorch_tanh": functools.partial(jax.nn.gelu, approximate=True),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of one tower's transformer.  `activation` is a key of `ACTIVATIONS`."""

    width: int
    layers: int
    heads: int
    mlp_width: int
    activation: str
    layer_norm_eps: float


@dataclass(frozen=True)
class VisionConfig(TransformerConfig):
    """The vision tower: square images of `image_size` pixels cut into squares of `patch_size`."""

    image_size: int
    patch_size: int
    channels: int

    @property
    def patches(self) -> int:
        """Number of patches an image is cut into; pixels that fill no whole patch are dropped."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True)
class TextConfig(TransformerConfig):
    """The text tower: at most `context_length` token ids below `vocab_size`."""

    vocab_size: int
    context_length: int
    eos_id: int


@dataclass(frozen=True)
class ClipConfig:
    """Both towers, and the size of the space that they project to."""

    vision: VisionConfig
    text: TextConfig
    embedding_size: int


@dataclass(frozen=True)
class Numerics:
    """How products are computed: in `dtype`, with `precision` (float32 is true float32 only with
    HIGHEST: a TPU's default product rounds its operands to bfloat16).  Parameters are kept in
    `param_dtype`.
    """

    dtype: jnp.dtype = jnp.float32
    precision: jax.lax.Precision = jax.lax.Precision.HIGHEST
    param_dtype: jnp.dtype = jnp.float32

    def linear(self, size_in: int, size_out: int, std: float, rngs: nnx.Rngs, bias: bool = True):
        """A dense layer with normally distributed weights of standard deviation `std`."""
        return nnx.Linear(
            size_in,
            size_out,
            use_bias=bias,
            kernel_init=nnx.initializers.normal(std),
            dtype=self.dtype,
            precision=self.precision,
            rngs=rngs,
        )

    def layer_norm(self, config: TransformerConfig, rngs: nnx.Rngs) -> nnx.LayerNorm:
        """Layer normalisation, its statistics in float32."""
        return nnx.LayerNorm(
            config.width, epsilon=config.layer_norm_eps, dtype=self.dtype, rngs=rngs
        )


FLOAT32 = Numerics()
# Half the memory and, on a TPU, a sixth of the time.
BFLOAT16 = Numerics(jnp.bfloat16, jax.lax.Precision.DEFAULT, jnp.bfloat16)
NUMERICS = {"float32": FLOAT32, "bfloat16": BFLOAT16}


class Attention(nnx.Module):
    """Multi-head self-attention; the softmax is computed in float32."""

    def __init__(self, config: TransformerConfig, numerics: Numerics, rngs: nnx.Rngs):
        std = config.width**-0.5
        std_in = std * (2 * config.layers) ** -0.5
        self.heads = config.heads
        self.precision = numerics.precision
        self.query = numerics.linear(config.width, config.width, std_in, rngs)
        self.key = numerics.linear(config.width, config.width, std_in, rngs)
        self.value = numerics.linear(config.width, config.width, std_in, rngs)
        self.out = numerics.linear(config.width, config.width, std, rngs)

    def __call__(
        self, x: Float[Array, "batch tokens width"], mask: Bool[Array, "tokens tokens"] | None
    ) -> Float[Array, "batch tokens width"]:
        """Mixes the tokens; `mask[i, j]` says whether token i sees token j."""
        batch, tokens, width = x.shape
        split = (batch, tokens, self.heads, width // self.heads)
        query, key, value = (
            layer(x).reshape(split) for layer in (self.query, self.key, self.value)
        )
        logits = jnp.einsum(
            "bqhd,bkhd->bhqk",
            query,
            key,
            precision=self.precision,
            preferred_element_type=jnp.float32,
        )
        logits = logits * split[-1] ** -0.5
        if mask is not None:
            logits = jnp.where(mask, logits, -jnp.inf)
        weights = jax.nn.softmax(logits, axis=-1).astype(value.dtype)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, value, precision=self.precision)
        return self.out(mixed.reshape(x.shape))


class Block(nnx.Module):
    """A pre-norm transformer layer."""

    def __init__(self, config: TransformerConfig, numerics: Numerics, rngs: nnx.Rngs):
        self.activation = config.activation
        self.norm1 = numerics.layer_norm(config, rngs)
        self.attention = Attention(config, numerics, rngs)
        self.norm2 = numerics.layer_norm(config, rngs)
        self.fc1 = numerics.linear(config.width, config.mlp_width, (2 * config.width) ** -0.5, rngs)
        std_out = (2 * config.width * config.layers) ** -0.5
        self.fc2 = numerics.linear(config.mlp_width, config.width, std_out, rngs)

    def __call__(
        self, x: Float[Array, "batch tokens width"], mask: Bool[Array, "tokens tokens"] | None
    ) -> Float[Array, "batch tokens width"]:
        """One layer of the transformer."""
        x = x + self.attention(self.norm1(x), mask)
        return x + self.fc2(ACTIVATIONS[self.activation](self.fc1(self.norm2(x))))


class VisionTower(nnx.Module):
    """Images to embeddings.

    Args:
      config: sizes.
      embedding_size: length of the projected embedding.
      rngs: source of the initial weights.
      numerics: dtype and precision of the computation (random weights are float32).
    """

    def __init__(
        self,
        config: VisionConfig,
        embedding_size: int,
        *,
        rngs: nnx.Rngs,
        numerics: Numerics = FLOAT32,
    ):
        self.config = config
        patch_values = config.patch_size**2 * config.channels
        normal = nnx.initializers.normal(0.02)
        self.patch_embedding = numerics.linear(
            patch_values, config.width, patch_values**-0.5, rngs, bias=False
        )
        self.class_embedding = nnx.Param(normal(rngs.params(), (config.width,)))
        self.position_embedding = nnx.Param(
            normal(rngs.params(), (config.patches + 1, config.width))
        )
        self.norm_before = numerics.layer_norm(config, rngs)
        self.blocks = nnx.List([Block(config, numerics, rngs) for _ in range(config.layers)])
        self.norm_after = numerics.layer_norm(config, rngs)
        self.projection = numerics.linear(
            config.width, embedding_size, config.width**-0.5, rngs, bias=False
        )

    def __call__(
        self, images: Float[Array, "batch size size channels"]
    ) -> Float[Array, "batch embedding"]:
        """Projected embeddings, not normalised, of images as the processor normalises them."""
        size, channels = self.config.image_size, self.config.channels
        if images.shape[1:] != (size, size, channels):
            raise ValueError(
                f"images of shape {images.shape}: expected (n, {size}, {size}, {channels})"
            )
        return self.encode(self.embed(images))

    def embed(
        self, images: Float[Array, "batch size size channels"]
    ) -> Float[Array, "batch tokens width"]:
        """What the transformer reads: the class token, then a token for each patch."""
        x = self.patch_embedding(self.patchify(images))
        first = jnp.broadcast_to(self.class_embedding[...], (len(x), 1, x.shape[-1]))
        x = jnp.concatenate([first.astype(x.dtype), x], axis=1)
        return x + self.position_embedding[...].astype(x.dtype)

    def encode(self, tokens: Float[Array, "batch tokens width"]) -> Float[Array, "batch embedding"]:
        """Projected embeddings from the class token and any of the patches' tokens."""
        x = self.norm_before(tokens)
        for block in self.blocks:
            x = block(x, None)
        return self.projection(self.norm_after(x[:, 0]))

    def patchify(
        self, images: Float[Array, "batch size size channels"]
    ) -> Float[Array, "batch patches values"]:
        """Cuts images into patches, row by row; a patch's values are in (y, x, channel) order."""
        patch = self.config.patch_size
        side = self.config.image_size // patch
        batch, _, _, channels = images.shape
        images = images[:, : side * patch, : side * patch]
        patches = images.reshape(batch, side, patch, side, patch, channels).swapaxes(2, 3)
        return patches.reshape(batch, side * side, patch * patch * channels)


class TextTower(nnx.Module):
    """Token ids to embeddings.

    Args:
      config: sizes, and the id that ends a text.
      embedding_size: length of the projected embedding.
      rngs: source of the initial weights.
      numerics: dtype and precision of the computation (random weights are float32).
    """

    def __init__(
        self,
        config: TextConfig,
        embedding_size: int,
        *,
        rngs: nnx.Rngs,
        numerics: Numerics = FLOAT32,
    ):
        self.config = config
        self.dtype = numerics.dtype
        normal = nnx.initializers.normal(0.02)
        self.token_embedding = nnx.Param(normal(rngs.params(), (config.vocab_size, config.width)))
        self.position_embedding = nnx.Param(
            normal(rngs.params(), (config.context_length, config.width))
        )
        self.blocks = nnx.List([Block(config, numerics, rngs) for _ in range(config.layers)])
        self.norm_after = numerics.layer_norm(config, rngs)
        self.projection = numerics.linear(
            config.width, embedding_size, config.width**-0.5, rngs, bias=False
        )

    def __call__(self, ids: Int[Array, "batch tokens"]) -> Float[Array, "batch embedding"]:
        """Projected embeddings, not normalised.

        Attention is causal and the output is read at the end of the text, so what fills a row up
        after it never matters and no mask is needed.
        """
        tokens = ids.shape[1]
        if tokens > self.config.context_length:
            raise ValueError(f"{tokens} tokens: at most {self.config.context_length}")
        x = self.token_embedding[...][ids] + self.position_embedding[...][:tokens]
        x = x.astype(self.dtype)
        causal = jnp.tril(jnp.ones((tokens, tokens), bool))
        for block in self.blocks:
            x = block(x, causal)
        x = jnp.take_along_axis(x, self.ends(ids)[:, None, None], axis=1)[:, 0]
        return self.projection(self.norm_after(x))

    def ends(self, ids: Int[Array, "batch tokens"]) -> Int[Array, " batch"]:
        """Where each text ends: its first `eos_id`, or under the legacy rule its highest id."""
        if self.config.eos_id == LEGACY_EOS_ID:
            return jnp.argmax(ids, axis=1)
        return jnp.argmax(ids == self.config.eos_id, axis=1)


class Clip(nnx.Module):
    """Both towers.

    Args:
      config: sizes.
      rngs: source of the initial weights.
      numerics: dtype and precision of the computation (random weights are float32).
    """

    def __init__(self, config: ClipConfig, *, rngs: nnx.Rngs, numerics: Numerics = FLOAT32):
        self.vision = VisionTower(
            config.vision, config.embedding_size, rngs=rngs, numerics=numerics
        )
        self.text = TextTower(config.text, config.embedding_size, rngs=rngs, numerics=numerics)
