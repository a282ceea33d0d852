"""TinyHAR (Zhou et al. 2022, "TinyHAR: A Lightweight Deep Learning Model Designed for HAR", ISWC)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from dcdp_jax.models.baselines.baseline import Baseline
from dcdp_jax.models.baselines.recurrent import LSTM
from dcdp_jax.models.batch_norm import BatchNorm
from dcdp_jax.models.conv import Conv1D
from dcdp_jax.models.dropout import dropout
from dcdp_jax.models.kernels import Dense

STRIDES = (1, 2, 1, 2)
FILTERS = 20  # at width 64


class ChannelInteraction(nn.Module):
    """Self-attention between the sensor channels of one sample, added with a learnt factor that starts at 0."""

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        """Maps (..., c, f) to (..., c, f)."""
        features = h.shape[-1]
        query, key, value = (Dense(features, use_bias=False, name=name)(h) for name in ("query", "key", "value"))
        # The source normalises over the queries' axis: column j holds the weights that make channel j.
        weights = jax.nn.softmax(jnp.einsum("...if,...jf->...ij", query, key), axis=-2)
        factor = self.param("factor", nn.initializers.zeros, ())
        return h + factor * jnp.einsum("...ij,...if->...jf", weights, value)


class TemporalAggregation(nn.Module):
    """The last sample, plus the weighted mean of all samples times a learnt factor that starts at 0."""

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        """Maps (b, t, f) to (b, f)."""
        hidden = jnp.tanh(Dense(h.shape[-1], name="hidden")(h))
        scores = Dense(1, use_bias=False, name="score")(hidden)
        mean = jnp.sum(jax.nn.softmax(scores, axis=1) * h, axis=1)
        return h[:, -1] + self.param("factor", nn.initializers.zeros, ()) * mean


class TinyHAR(Baseline):
    """Four convolutions 20 k5 per channel, attention between channels, dense 40, LSTM 40, attention over time, linear.

    As in the source, ReLU comes before BN and the convolutions share their kernels between the sensor channels. They
    are padded here, so that windows shorter than 25 samples can be used.
    """

    dropout: float = 0.1  # rate after the attention between channels

    def features(self, x: jax.Array, train: bool, keys: jax.Array | None) -> jax.Array:
        """Maps (b, t, c) to (b, features)."""
        b, t, c = x.shape
        filters = max(FILTERS * self.width // 64, 1)
        h = x.transpose(0, 2, 1).reshape(b * c, t, 1)
        for stride in STRIDES:
            h = nn.relu(Conv1D(filters, 5, stride, bias=True)(h))
            # One statistic per filter over windows, channels and samples.
            h = BatchNorm(self.axis_name)(h.reshape(b, -1, filters), train).reshape(h.shape)
        h = h.reshape(b, c, -1, filters).transpose(0, 2, 1, 3)
        h = dropout(ChannelInteraction()(h), keys, self.dropout)
        h = nn.relu(Dense(2 * filters, name="channel_fusion")(h.reshape(b, -1, c * filters)))
        return TemporalAggregation()(LSTM(2 * filters)(h))
