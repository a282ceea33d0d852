"""Stacked LSTM, the usual recurrent baseline."""

import jax

from dcdp_jax.models.baselines.baseline import Baseline
from dcdp_jax.models.baselines.recurrent import LSTM


class StackedLSTM(Baseline):
    """Two LSTM layers of 128, the last step, linear."""

    def features(self, x: jax.Array, train: bool, keys: jax.Array | None) -> jax.Array:
        """Maps (b, t, c) to (b, features)."""
        h = LSTM(2 * self.width)(x)
        h = LSTM(2 * self.width)(h)
        return h[:, -1]
