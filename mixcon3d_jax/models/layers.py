"""Layers with PyTorch's initialisation, statistics and floors: the reference numbers need them."""

import functools

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


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _product(
    x: Float[Array, "rows in"], kernel: Float[Array, "in out"], dtype: jnp.dtype
) -> Float[Array, "rows out"]:
    """The product in `dtype`.

    Differentiated by JAX, it would transpose the gradient of all rows in memory, which on a CPU
    takes longer than the product.
    """
    precision = matmul_precision(dtype)
    return jnp.matmul(x.astype(dtype), kernel.astype(dtype), precision=precision)


def _product_forward(x, kernel, dtype):
    return _product(x, kernel, dtype), (x, kernel)


def _product_backward(dtype, residuals, slope):
    x, kernel = residuals
    precision = matmul_precision(dtype)
    back = jax.lax.dot_general(
        slope, kernel.astype(dtype), (((1,), (1,)), ((), ())), precision=precision
    )
    kernel_slope = jax.lax.dot_general(
        x.astype(dtype),
        slope,
        (((0,), (0,)), ((), ())),
        precision=precision,
        preferred_element_type=jnp.float32,
    )
    return back.astype(x.dtype), kernel_slope


_product.defvjp(_product_forward, _product_backward)


class PointConv(nnx.Module):
    """A 1x1 convolution that stands in front of a `BatchNorm`."""

    def __init__(self, in_features: int, out_features: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        layer = linear(in_features, out_features, rngs=rngs)
        self.dtype = dtype
        self.kernel, self.bias = layer.kernel, layer.bias

    def __call__(self, x: Float[Array, "rows in"], *, train: bool) -> Float[Array, "rows out"]:
        """The product with the kernel, and the bias."""
        bias = self.bias[...]
        if train:
            # The normalisation cancels the bias, so its true gradient is zero; computed, it is
            # rounding noise, which Adam would blow up to steps of full size.
            bias = jax.lax.stop_gradient(bias)
        return _product(x, self.kernel[...], self.dtype) + bias.astype(self.dtype)
