"""Pre-norm transformer blocks."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from mixcon3d_jax.models.layers import LayerNorm, linear, matmul_precision

HEAD_WIDTH = 64


class Attention(nnx.Module):
    """Multi-head self-attention: qkv without bias, heads of 64, output projection with bias."""

    def __init__(self, dim: int, heads: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.heads = heads
        self.dtype = dtype
        inner = heads * HEAD_WIDTH
        self.qkv = linear(dim, 3 * inner, use_bias=False, dtype=dtype, rngs=rngs)
        self.out = linear(inner, dim, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "batch tokens dim"]) -> Float[Array, "batch tokens dim"]:
        """Attends over all tokens; the softmax is float32."""
        precision = matmul_precision(self.dtype)
        query, key, value = map(self._by_head, jnp.split(self.qkv(x), 3, axis=-1))
        logits = jnp.einsum(
            "bhqd,bhkd->bhqk", query, key, precision=precision, preferred_element_type=jnp.float32
        )
        weights = jax.nn.softmax(logits * HEAD_WIDTH**-0.5, axis=-1).astype(self.dtype)
        mixed = jnp.einsum("bhqk,bhkd->bhqd", weights, value, precision=precision)
        return self.out(mixed.swapaxes(1, 2).reshape(*x.shape[:2], -1))

    def _by_head(
        self, x: Float[Array, "batch tokens inner"]
    ) -> Float[Array, "batch heads tokens width"]:
        return x.reshape(*x.shape[:2], self.heads, HEAD_WIDTH).swapaxes(1, 2)


class Block(nnx.Module):
    """Attention and a two-layer MLP with exact GELU, each behind a layer norm and a skip."""

    def __init__(self, dim: int, heads: int, mlp_dim: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.attention_norm = LayerNorm(dim, dtype=dtype)
        self.attention = Attention(dim, heads, dtype=dtype, rngs=rngs)
        self.mlp_norm = LayerNorm(dim, dtype=dtype)
        self.fc1 = linear(dim, mlp_dim, dtype=dtype, rngs=rngs)
        self.fc2 = linear(mlp_dim, dim, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "batch tokens dim"]) -> Float[Array, "batch tokens dim"]:
        """One block."""
        x = x + self.attention(self.attention_norm(x))
        return x + self.fc2(jax.nn.gelu(self.fc1(self.mlp_norm(x)), approximate=False))
