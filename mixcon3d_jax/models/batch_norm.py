"""Batch normalisation as PyTorch has it, alone and in front of a maximum over groups."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


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
        self,
        x: Float[Array, "rows features"],
        shift: Float[Array, "features"] | float = 0.0,
        *,
        train: bool,
    ) -> Float[Array, "rows features"]:
        """Normalises with the batch's statistics when training, else with the running ones.

        Args:
          x: features.
          shift: to be added to all rows before.  Training normalises it away, so that nothing is
            added, and its gradient is zero; computed, it would be rounding noise, which Adam
            would blow up to steps of full size.
          train: use and update the statistics of this batch.
        """
        if not train:
            return _affine(x, *self._running(shift))
        normalized, statistics = _normalize(x, self.scale[...], self.bias[...], self.epsilon)
        self._update(statistics, shift, len(x))
        return normalized

    def largest(
        self,
        x: Float[Array, "groups members features"],
        shift: Float[Array, "features"] | float = 0.0,
        *,
        train: bool,
    ) -> Float[Array, "groups features"]:
        """The largest normalised values of each group.

        They are found before the normalisation, which keeps or reverses the order of a feature.
        """
        if not train:
            gain, offset = self._running(shift)
            return _affine(_extreme(x, gain), gain, offset)
        largest, statistics = _normalize_largest(x, self.scale[...], self.bias[...], self.epsilon)
        self._update(statistics, shift, x.shape[0] * x.shape[1])
        return largest

    def _running(self, shift) -> tuple[Float[Array, "features"], Float[Array, "features"]]:
        return _gain_and_offset(
            Statistics(self.mean[...] - shift, self.var[...]),
            self.scale[...],
            self.bias[...],
            self.epsilon,
        )

    def _update(self, statistics: "Statistics", shift, count: int) -> None:
        mean, var = jax.lax.stop_gradient(statistics)
        keep = 1.0 - self.momentum
        unbiased = var * (count / max(count - 1, 1))
        mean += jax.lax.stop_gradient(shift)
        self.mean[...] = keep * self.mean[...] + self.momentum * mean
        self.var[...] = keep * self.var[...] + self.momentum * unbiased


class Statistics(NamedTuple):
    """Mean and biased variance of each feature."""

    mean: Float[Array, "features"]
    var: Float[Array, "features"]


def _statistics(x: Float[Array, "*batch features"]) -> Statistics:
    axes = tuple(range(x.ndim - 1))
    values = x.astype(jnp.float32)
    mean = values.mean(axes)
    return Statistics(mean, jnp.square(values - mean).mean(axes))


def _gain_and_offset(statistics, scale, bias, epsilon):
    gain = scale * jax.lax.rsqrt(statistics.var + epsilon)
    return gain, bias - statistics.mean * gain


def _affine(x, gain, offset):
    # Two float32 vectors of `features` entries, then one multiply and add in x's own type.
    return x * gain.astype(x.dtype) + offset.astype(x.dtype)


def _extreme(x: Float[Array, "groups members features"], gain: Float[Array, "features"]):
    """Each group's values that will be largest after a multiplication with `gain`."""
    sign = jnp.where(gain < 0, -1, 1).astype(x.dtype)
    return (x * sign).max(axis=1) * sign


# Gradients as JAX would find them, in fewer passes over the rows and summed in float32.


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _normalize(x, scale, bias, epsilon):
    """The rows, normalised, and their statistics, which carry no gradient."""
    statistics = _statistics(x)
    return _affine(x, *_gain_and_offset(statistics, scale, bias, epsilon)), statistics


def _normalize_forward(x, scale, bias, epsilon):
    normalized, statistics = _normalize(x, scale, bias, epsilon)
    return (normalized, statistics), (x, scale, statistics)


def _normalize_backward(epsilon, residuals, slopes):
    x, scale, (mean, var) = residuals
    slope = slopes[0].astype(jnp.float32)
    centered = x.astype(jnp.float32) - mean
    inverse = jax.lax.rsqrt(var + epsilon)
    bias_slope = slope.sum(0)
    scale_slope = (slope * centered).sum(0) * inverse
    gain = scale * inverse
    back = gain * slope - _through_statistics(
        centered, gain, inverse, bias_slope, scale_slope, len(x)
    )
    return back.astype(x.dtype), scale_slope, bias_slope


_normalize.defvjp(_normalize_forward, _normalize_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _normalize_largest(x, scale, bias, epsilon):
    """The largest normalised values of each group, and the statistics of all rows."""
    return _normalize_largest_forward(x, scale, bias, epsilon)[0]


def _normalize_largest_forward(x, scale, bias, epsilon):
    statistics = _statistics(x)
    gain, offset = _gain_and_offset(statistics, scale, bias, epsilon)
    extreme = _extreme(x, gain)
    return (_affine(extreme, gain, offset), statistics), (x, scale, statistics, extreme)


def _normalize_largest_backward(epsilon, residuals, slopes):
    x, scale, (mean, var), extreme = residuals
    slope = slopes[0].astype(jnp.float32)
    inverse = jax.lax.rsqrt(var + epsilon)
    bias_slope = slope.sum(0)
    scale_slope = (slope * (extreme.astype(jnp.float32) - mean)).sum(0) * inverse
    gain = scale * inverse
    # Equal members of a group share its gradient.
    is_extreme = x == extreme[:, None]
    share = gain * slope / is_extreme.astype(jnp.float32).sum(1)
    back = jnp.where(is_extreme, share[:, None], 0) - _through_statistics(
        x.astype(jnp.float32) - mean,
        gain,
        inverse,
        bias_slope,
        scale_slope,
        x.shape[0] * x.shape[1],
    )
    return back.astype(x.dtype), scale_slope, bias_slope


_normalize_largest.defvjp(_normalize_largest_forward, _normalize_largest_backward)


def _through_statistics(centered, gain, inverse, bias_slope, scale_slope, count):
    """What mean and variance take from the gradient of each row."""
    return (gain / count) * bias_slope + centered * (gain * inverse / count * scale_slope)
