"""Stacked LSTM, the usual recurrent baseline."""

import flax.linen as nn
import jax

from dcdp_jax.models.baselines.baseline import Baseline
from dcdp_jax.models.baselines.recurrent import LSTM
from dcdp_jax.models.kernels import Dense


class StackedLSTM(Baseline):
    """Two LSTM layers of 128, the last step, linear."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, keys: jax.Array | None) -> jax.Array:
        """(b, t, c) -> logits (b, k)."""
        del train, keys
        h = LSTM(2 * self.width)(x)
        h = LSTM(2 * self.width)(h)
        return Dense(self.classes, name="classifier")(h[:, -1])
