"""A plain Transformer encoder (Vaswani et al. 2017, "Attention Is All You Need") on the samples of a window."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dcdp_jax.models.baselines.baseline import Baseline
from dcdp_jax.models.dropout import dropout, keys_of_layer
from dcdp_jax.models.kernels import Dense

LAYERS, HEADS = 2, 4


def sinusoidal_positions(t: int, d: int) -> np.ndarray:
    """Returns the (t, d) float32 position encoding of the source: sines in even columns, cosines in odd ones."""
    column = np.arange(d)
    angle = np.arange(t)[:, None] / 10000 ** (column // 2 * 2 / d)
    return np.where(column % 2 == 0, np.sin(angle), np.cos(angle)).astype(np.float32)


class EncoderLayer(nn.Module):
    """Multi-head self-attention and a two-layer network of 4 d, each behind layer normalisation and with a residual."""

    rate: float  # of the dropout on both residual branches

    @nn.compact
    def __call__(self, h: jax.Array, keys: jax.Array | None) -> jax.Array:
        """Maps (b, t, d) to (b, t, d)."""
        b, t, d = h.shape
        normalised = nn.LayerNorm(name="attention_norm")(h)
        query, key, value = (
            Dense(d, name=name)(normalised).reshape(b, t, HEADS, d // HEADS) for name in ("query", "key", "value")
        )
        attended = jax.nn.dot_product_attention(query, key, value).reshape(b, t, d)
        h = h + dropout(Dense(d, name="out")(attended), keys_of_layer(keys, 0), self.rate)
        hidden = nn.relu(Dense(4 * d, name="hidden")(nn.LayerNorm(name="network_norm")(h)))
        return h + dropout(Dense(d, name="network_out")(hidden), keys_of_layer(keys, 1), self.rate)


class Transformer(Baseline):
    """Dense 128 on every sample, sinusoidal positions, two encoder layers of 4 heads, mean over time, linear.

    The layers normalise their input and not their output, as is usual since GPT-2 (ours).

    Attributes:
      dropout: rate on both residual branches of a layer.
    """

    dropout: float = 0.1

    def features(self, x: jax.Array, train: bool, keys: jax.Array | None) -> jax.Array:
        """Maps (b, t, c) to (b, features)."""
        d = max(2 * self.width // HEADS, 1) * HEADS
        h = Dense(d, name="embedding")(x)
        h = h + jnp.asarray(sinusoidal_positions(x.shape[1], d), h.dtype)
        for layer in range(LAYERS):
            h = EncoderLayer(self.dropout)(h, keys_of_layer(keys, layer))
        return nn.LayerNorm()(h).mean(axis=1)
