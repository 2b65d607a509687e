"""Layers with PyTorch's initialisation, statistics and floors: the reference numbers need them."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

LAYER_NORM_EPSILON = 1e-5
NORM_FLOOR = 1e-12


def normalize(x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
    """Vectors of length 1, in float32; those shorter than 1e-12 are divided by 1e-12.

    That is `torch.nn.functional.normalize`: zeros stay zeros, and gradients are finite everywhere.
    """
    x = x.astype(jnp.float32)
    square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(square, NORM_FLOOR**2))


def matmul_precision(dtype: jnp.dtype) -> jax.lax.Precision:
    """Float32 means float32: a TPU's default would round the factors to bfloat16."""
    return jax.lax.Precision.HIGHEST if dtype == jnp.float32 else jax.lax.Precision.DEFAULT


def linear(
    in_features: int,
    out_features: int,
    *,
    use_bias: bool = True,
    dtype: jnp.dtype = jnp.float32,
    rngs: nnx.Rngs,
) -> nnx.Linear:
    """A dense layer computed in `dtype`; weights and biases start in U(+-1/sqrt(in_features))."""

    def init(key, shape, dtype=jnp.float32):
        bound = in_features**-0.5
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return nnx.Linear(
        in_features,
        out_features,
        use_bias=use_bias,
        dtype=dtype,
        param_dtype=jnp.float32,
        precision=matmul_precision(dtype),
        kernel_init=init,
        bias_init=init,
        rngs=rngs,
    )


def layer_norm(features: int, *, dtype: jnp.dtype = jnp.float32, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """Layer normalisation with PyTorch's epsilon, statistics in float32, output in `dtype`."""
    return nnx.LayerNorm(
        features, epsilon=LAYER_NORM_EPSILON, dtype=dtype, param_dtype=jnp.float32, rngs=rngs
    )


class PointConv(nnx.Module):
    """A 1x1 convolution that stands in front of a `BatchNorm`."""

    def __init__(self, in_features: int, out_features: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        layer = linear(in_features, out_features, rngs=rngs)
        self.dtype = dtype
        self.kernel, self.bias = layer.kernel, layer.bias

    def __call__(self, x: Float[Array, "*batch in"], *, train: bool) -> Float[Array, "*batch out"]:
        """The product with the kernel, and the bias."""
        bias = self.bias[...]
        if train:
            # The normalisation cancels the bias, so its true gradient is zero; computed, it is
            # rounding noise, which Adam would blow up to steps of full size.
            bias = jax.lax.stop_gradient(bias)
        kernel = self.kernel[...].astype(self.dtype)
        precision = matmul_precision(self.dtype)
        return jnp.matmul(x.astype(self.dtype), kernel, precision=precision) + bias.astype(
            self.dtype
        )


class BatchNorm(nnx.Module):
    """Batch normalisation over all axes but the last, with PyTorch's running statistics.

    The running variance is the unbiased one and new statistics weigh `momentum` (PyTorch's sense).
    Under `jax.jit` with a sharded batch the mean is over the global batch.
    """

    def __init__(self, features: int, *, momentum: float = 0.1, epsilon: float = 1e-5):
        self.momentum = momentum
        self.epsilon = epsilon
        self.scale = nnx.Param(jnp.ones(features))
        self.bias = nnx.Param(jnp.zeros(features))
        self.mean = nnx.BatchStat(jnp.zeros(features))
        self.var = nnx.BatchStat(jnp.ones(features))

    def __call__(
        self, x: Float[Array, "*batch features"], *, train: bool
    ) -> Float[Array, "*batch features"]:
        """Normalises with the batch's statistics when training, else with the running ones."""
        mean, var = self.mean[...], self.var[...]
        if train:
            axes = tuple(range(x.ndim - 1))
            count = x.size // x.shape[-1]
            values = x.astype(jnp.float32)
            mean = values.mean(axes)
            var = jnp.square(values - mean).mean(axes)
            keep = 1.0 - self.momentum
            unbiased = var * (count / max(count - 1, 1))
            self.mean[...] = keep * self.mean[...] + self.momentum * mean
            self.var[...] = keep * self.var[...] + self.momentum * unbiased
        gain = self.scale[...] * jax.lax.rsqrt(var + self.epsilon)
        # Two float32 vectors of `features` entries, then one multiply and add in x's own type.
        return x * gain.astype(x.dtype) + (self.bias[...] - mean * gain).astype(x.dtype)
