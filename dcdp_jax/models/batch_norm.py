"""Batch normalisation with a custom gradient that reads the activations as few times as possible."""

import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from dcdp_jax.models.kernels import parameter

EPSILON = 1e-5
MOMENTUM = 0.9
# For `sums_together`, on NVIDIA GPUs. XLA sums up to 4,096 rows of 32 channels on one multiprocessor, and more rows in
# two kernels. The kernel that reads a sum adds up to 16 parts itself; with 64, the backward pass stores no product
# before it is summed.
DIVIDED_ROWS = 8192
FORWARD_PARTS = FUSED_PARTS = 16
BACKWARD_PARTS = 64
# Collection with the mean and biased variance of each layer's input on one device. It is written outside of training
# if it is mutable.
INPUT_STATISTICS = "input_statistics"

Normalized = tuple[jax.Array, jax.Array, jax.Array]


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def normalize(x: jax.Array, scale: jax.Array, bias: jax.Array, axis_name: str | None, relu: bool) -> Normalized:
    """Normalises (b, ..., c) by the statistics of the global batch (Ioffe and Szegedy 2015), with (c,) scale and bias.

    The forward pass reads x twice: once for both sums and once to normalise. The backward pass reads x and the gradient
    twice: once for both of its sums and once for the gradient of x. It recomputes the normalised values and the mask of
    the ReLU from x instead of keeping them. axis_name is the mapped axis over which the batch is split, or None.

    Returns:
      (b, ..., c) in the common type of the arguments; mean and biased variance (c,), without a gradient.
    """
    return _forward(x, scale, bias, axis_name, relu)[0]


def widened(x: jax.Array) -> jax.Array:
    """Returns x in float32, or unchanged if it is float64."""
    return x if x.dtype == jnp.float64 else x.astype(jnp.float32)


def mean_and_variance(x: jax.Array, axis_name: str | None) -> tuple[jax.Array, jax.Array]:
    """Returns mean and biased variance (c,) of the global batch, `widened`, from sums of x and of its square."""
    x = widened(x)
    mean, mean_of_squares = batch_means(sums(x, x * x, FORWARD_PARTS), x, axis_name)
    return mean, jnp.maximum(mean_of_squares - mean * mean, 0)


def sums(a: jax.Array, b: jax.Array, parts: int) -> tuple[jax.Array, jax.Array]:
    """Returns the sums (c,) of two arrays (b, ..., c); the parts are those of `sums_together`."""
    return lax.platform_dependent(a, b, cuda=partial(sums_together, parts=parts), default=sums_apart)


def batch_means(local: tuple[jax.Array, jax.Array], x: jax.Array, axis_name: str | None) -> tuple[jax.Array, jax.Array]:
    """Returns means (c,) over the global batch from `sums` over this device's x, with one collective for both."""
    count = x.size // x.shape[-1]
    means = local[0] / count, local[1] / count
    return means if axis_name is None else lax.pmean(means, axis_name)


def sums_apart(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the sums (c,) of two arrays (b, ..., c)."""
    axes = tuple(range(a.ndim - 1))
    return a.sum(axes), b.sum(axes)


def sums_together(a: jax.Array, b: jax.Array, parts: int) -> tuple[jax.Array, jax.Array]:
    """Computes `sums_apart` as one reduction, for which XLA launches half as many kernels on a GPU.

    Up to `DIVIDED_ROWS` rows are summed in so many parts, as far as these divide the rows, and then the parts.
    """

    def add(x: tuple[jax.Array, jax.Array], y: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return x[0] + y[0], x[1] + y[1]

    zero, c = jnp.zeros((), a.dtype), a.shape[-1]
    rows = a.size // c
    parts = math.gcd(parts, rows) if rows <= DIVIDED_ROWS else 1
    a, b = (x.reshape(parts, -1, c) for x in (a, b))
    if parts == 1:
        return lax.reduce((a[0], b[0]), (zero, zero), add, (0,))
    a, b = lax.optimization_barrier(lax.reduce((a, b), (zero, zero), add, (1,)))
    return (a.sum(0), b.sum(0)) if parts <= FUSED_PARTS else lax.reduce((a, b), (zero, zero), add, (0,))


def affine(x: jax.Array, mean: jax.Array, variance: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    """Computes (x - mean) / sqrt(variance + EPSILON) * scale + bias, `widened`."""
    x, scale, bias = map(widened, (x, scale, bias))
    return (x - mean) * (lax.rsqrt(variance + EPSILON) * scale) + bias


Saved = tuple[jax.Array, ...]


@partial(jax.jit, static_argnums=(3, 4))
def _forward(
    x: jax.Array, scale: jax.Array, bias: jax.Array, axis_name: str | None, relu: bool
) -> tuple[Normalized, Saved]:
    mean, variance = mean_and_variance(x, axis_name)
    y = affine(x, mean, variance, scale, bias)
    y = (nn.relu(y) if relu else y).astype(jnp.result_type(x, scale, bias))
    inverse_std = lax.rsqrt(variance + EPSILON)
    factor = inverse_std * widened(scale)
    shift = widened(bias) - mean * factor
    # With the barrier the backward pass reads no parameter; XLA would keep a copy of it while it is updated.
    kept = lax.optimization_barrier((mean, inverse_std, factor, shift))
    like = jnp.zeros(0, scale.dtype), jnp.zeros(0, bias.dtype)
    return (y, mean, variance), (x, *kept, *like)


@partial(jax.jit, static_argnums=(0, 1))
def _backward(
    axis_name: str | None, relu: bool, saved: Saved, gradients: Normalized
) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, mean, inverse_std, factor, shift, scale, bias = saved

    def masked(x: jax.Array, g: jax.Array) -> tuple[jax.Array, jax.Array]:
        x, g = widened(x), widened(g)
        return (x - mean) * inverse_std, jnp.where(x * factor + shift > 0, g, 0) if relu else g

    # The barriers keep XLA from recomputing the gradient in both passes, and from storing the normalised values or the
    # mask in the first pass; the second pass computes them from x.
    x, g = lax.optimization_barrier((x, gradients[0]))
    normalized, of_y = masked(x, g)
    # The gradients of the parameters are those of this device's share of the batch, as in any other layer.
    d_bias, d_scale = local = sums(of_y, of_y * normalized, BACKWARD_PARTS)
    x, g, local = lax.optimization_barrier((x, g, local))
    means = batch_means(local, x, axis_name)
    normalized, of_y = masked(x, g)
    d_x = (of_y - means[0] - normalized * means[1]) * factor
    return d_x.astype(x.dtype), d_scale.astype(scale.dtype), d_bias.astype(bias.dtype)


normalize.defvjp(_forward, _backward)


class BatchNorm(nn.Module):
    """Batch normalisation with an optional ReLU.

    Parameters and running statistics have the names and places of those of `flax.linen.BatchNorm`.
    """

    axis_name: str | None = None  # mapped axis over which the batch is split, or None if it is not split
    relu: bool = False  # whether negative results are replaced by 0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Normalises (b, ..., c) by the statistics of the global batch in training, by the running ones otherwise.

        Training also updates the running mean and biased variance.
        """
        return _Normalization(self.axis_name, self.relu, name="BatchNorm_0")(x, train)


class _Normalization(nn.Module):
    """The arrays of `BatchNorm`, one level below it."""

    axis_name: str | None
    relu: bool

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        shape = x.shape[-1:]
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        running_variance = self.variable("batch_stats", "var", jnp.ones, shape)
        scale = parameter(self, "scale", nn.initializers.ones, shape)
        bias = parameter(self, "bias", nn.initializers.zeros, shape)
        if not train:
            if self.is_mutable_collection(INPUT_STATISTICS) and not self.is_initializing():
                # Converters to other formats do not know the choice by platform in `batch_means`.
                values, axes = widened(x), tuple(range(x.ndim - 1))
                mean = values.mean(axes)
                variance = jnp.maximum((values * values).mean(axes) - mean * mean, 0)
                self.put_variable(INPUT_STATISTICS, "mean", mean)
                self.put_variable(INPUT_STATISTICS, "var", variance)
            y = affine(x, running_mean.value, running_variance.value, scale, bias)
            y = nn.relu(y) if self.relu else y
            return y.astype(jnp.result_type(x, scale, bias))
        axis_name = None if self.is_initializing() else self.axis_name
        y, mean, variance = normalize(x, scale, bias, axis_name, self.relu)
        if not self.is_initializing():
            running_mean.value = MOMENTUM * running_mean.value + (1 - MOMENTUM) * mean
            running_variance.value = MOMENTUM * running_variance.value + (1 - MOMENTUM) * variance
        return y
