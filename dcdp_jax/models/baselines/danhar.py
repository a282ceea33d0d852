"""DanHAR (Gao et al. 2021, "DanHAR: Dual Attention Network for multimodal human activity recognition", ASOC 111)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from dcdp_jax.models.baselines.baseline import Baseline
from dcdp_jax.models.batch_norm import BatchNorm
from dcdp_jax.models.conv import Conv1D
from dcdp_jax.models.kernels import Dense


def maximum(h: jax.Array, axis: int) -> jax.Array:
    """Returns the largest values along an axis. The gradient goes to the first of them.

    The gradient of `jnp.max` goes where the input equals the maximum, and is 0 / 0 if the compiler recomputes the input
    with another rounding.
    """
    return jnp.take_along_axis(h, jnp.argmax(h, axis, keepdims=True), axis).squeeze(axis)


class ChannelAttention(nn.Module):
    """Weights (0, 1) per channel, from a two-layer network on the mean and on the maximum over time, summed."""

    reduction: int = 8  # channels per hidden unit (ours; the source does not say)

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        """Maps (b, t, c) to (b, t, c)."""
        channels = h.shape[-1]
        hidden = Dense(max(channels // self.reduction, 1), use_bias=False)
        out = Dense(channels, use_bias=False)
        scores = sum(out(nn.relu(hidden(pooled))) for pooled in (h.mean(axis=1), maximum(h, 1)))
        return h * jax.nn.sigmoid(scores)[:, None, :]


class TemporalAttention(nn.Module):
    """Weights (0, 1) per sample, from a convolution k7 over the mean and the maximum of the channels."""

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        """Maps (b, t, c) to (b, t, c)."""
        pooled = jnp.stack([h.mean(axis=-1), maximum(h, 2)], axis=-1)
        return h * jax.nn.sigmoid(Conv1D(1, 7)(pooled))


class AttentionBlock(nn.Module):
    """ReLU(shortcut(h) + attention(F(h))): F of conv k3 stride 2, BN, ReLU, conv k3, BN; the shortcut conv k1, BN."""

    features: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, h: jax.Array, train: bool) -> jax.Array:
        """Maps (b, t, c) to (b, ceil(t / 2), features)."""
        residual = Conv1D(self.features, 3, 2)(h)
        residual = BatchNorm(self.axis_name, relu=True)(residual, train)
        residual = BatchNorm(self.axis_name)(Conv1D(self.features, 3)(residual), train)
        residual = TemporalAttention()(ChannelAttention()(residual))
        return nn.relu(residual + BatchNorm(self.axis_name)(Conv1D(self.features, 1, 2)(h), train))


class DanHAR(Baseline):
    """Three residual blocks of 64-128-256, each with channel, then temporal attention; mean over time, linear."""

    def features(self, x: jax.Array, train: bool, keys: jax.Array | None) -> jax.Array:
        """Maps (b, t, c) to (b, features)."""
        h = x
        for block in range(3):
            h = AttentionBlock(self.width * 2**block, self.axis_name)(h, train)
        return h.mean(axis=1)
