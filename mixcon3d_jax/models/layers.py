"""Layers with PyTorch's initialisation, statistics and floors: the reference numbers need them."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

LAYER_NORM_EPSILON = 1e-5
NORM_FLOOR = 1e-12
_WIDE = 512  # columns


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


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def product(
    x: Float[Array, "*batch in"], kernel: Float[Array, "in out"], dtype: jnp.dtype
) -> Float[Array, "*batch out"]:
    """The product in `dtype`, whose gradients are products that run at full speed, too.

    Differentiated by JAX, it would be transposed in memory as a whole, or multiplied slowly.
    """
    precision = matmul_precision(dtype)
    return jnp.matmul(x.astype(dtype), kernel.astype(dtype), precision=precision)


def _product_forward(x, kernel, dtype):
    return product(x, kernel, dtype), (x, kernel)


def _product_backward(dtype, residuals, slope):
    x, kernel = residuals
    back = jax.lax.dot_general(
        slope,
        kernel.astype(dtype),
        (((slope.ndim - 1,), (1,)), ((), ())),
        precision=matmul_precision(dtype),
    )
    kernel_slope = jax.lax.platform_dependent(
        x.astype(dtype), slope, cpu=_multiply_rows, default=_multiply_batches
    )
    return back.astype(x.dtype), kernel_slope.astype(kernel.dtype)


product.defvjp(_product_forward, _product_backward)


def _multiply_batches(
    a: Float[Array, "*batch in"], b: Float[Array, "*batch out"]
) -> Float[Array, "in out"]:
    """The sum of outer products, in float32."""
    axes = tuple(range(a.ndim - 1))
    return jax.lax.dot_general(
        a,
        b,
        ((axes, axes), ((), ())),
        precision=matmul_precision(a.dtype),
        preferred_element_type=jnp.float32,
    )


def _multiply_rows(
    a: Float[Array, "*batch in"], b: Float[Array, "*batch out"]
) -> Float[Array, "in out"]:
    """The same in the shortest time on a CPU: wide rows are transposed in memory before.

    Of very wide rows that would take as long as the product, since the entries of a column lie in
    the same few lines of a cache; they are cut into blocks.
    """
    width = a.shape[-1]
    a, b = a.reshape(-1, width), b.reshape(-1, b.shape[-1])

    def multiply(a: Float[Array, "rows in"]) -> Float[Array, "in out"]:
        turned = jax.lax.optimization_barrier(a.T)
        precision = matmul_precision(a.dtype)
        return jnp.matmul(turned, b, precision=precision, preferred_element_type=jnp.float32)

    if width < _WIDE:
        return _multiply_batches(a, b)
    if width == _WIDE or width % _WIDE:
        return multiply(a)
    blocks = jnp.moveaxis(a.reshape(len(a), -1, _WIDE), 1, 0)
    return jax.lax.map(multiply, blocks).reshape(width, -1)


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
        dot_general=_product_of_layer,
        kernel_init=init,
        bias_init=init,
        rngs=rngs,
    )


def _product_of_layer(x, kernel, dimension_numbers, **_):
    """`product` where flax asks for a `jax.lax.dot_general` of the last and the first axis."""
    assert dimension_numbers == (((x.ndim - 1,), (0,)), ((), ()))
    return product(x, kernel, x.dtype)


class LayerNorm(nnx.Module):
    """Layer normalisation with PyTorch's epsilon, statistics in float32, output in `dtype`."""

    def __init__(self, features: int, *, dtype: jnp.dtype = jnp.float32):
        self.dtype = dtype
        self.scale = nnx.Param(jnp.ones(features))
        self.bias = nnx.Param(jnp.zeros(features))

    def __call__(self, x: Float[Array, "*batch features"]) -> Float[Array, "*batch features"]:
        """Normalises each vector."""
        return _layer_norm(x, self.scale[...], self.bias[...], self.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _layer_norm(x, scale, bias, dtype):
    return _layer_norm_forward(x, scale, bias, dtype)[0]


def _layer_norm_forward(x, scale, bias, dtype):
    values = x.astype(jnp.float32)
    mean = values.mean(-1, keepdims=True)
    inverse = jax.lax.rsqrt(values.var(-1, keepdims=True) + LAYER_NORM_EPSILON)
    normalized = (values - mean) * inverse * scale + bias
    return normalized.astype(dtype), (x, scale, mean, inverse)


def _layer_norm_backward(dtype, residuals, slope):
    x, scale, mean, inverse = residuals
    slope = slope.astype(jnp.float32)
    unit = (x.astype(jnp.float32) - mean) * inverse
    scaled = slope * scale
    along = (scaled * unit).mean(-1, keepdims=True)
    back = inverse * (scaled - scaled.mean(-1, keepdims=True) - unit * along)
    axes = tuple(range(x.ndim - 1))
    return back.astype(x.dtype), (slope * unit).sum(axes), slope.sum(axes)


_layer_norm.defvjp(_layer_norm_forward, _layer_norm_backward)


class PointConv(nnx.Module):
    """A 1x1 convolution in front of a `BatchNorm`, which takes the bias as its `shift`."""

    def __init__(self, in_features: int, out_features: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        layer = linear(in_features, out_features, rngs=rngs)
        self.dtype = dtype
        self.kernel, self.bias = layer.kernel, layer.bias

    def __call__(self, x: Float[Array, "*batch in"]) -> Float[Array, "*batch out"]:
        """The product with the kernel; the bias is still to be added."""
        return product(x, self.kernel[...], self.dtype)
