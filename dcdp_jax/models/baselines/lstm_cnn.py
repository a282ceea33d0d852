"""LSTM-CNN (Xia et al. 2020, "LSTM-CNN Architecture for Human Activity Recognition", IEEE Access 8)."""

import flax.linen as nn
import jax

from dcdp_jax.models.baselines.baseline import Baseline
from dcdp_jax.models.baselines.recurrent import LSTM
from dcdp_jax.models.batch_norm import BatchNorm
from dcdp_jax.models.conv import Conv1D


class LSTMCNN(Baseline):
    """Two LSTM layers of 32, conv 64 k5 stride 2, max-pool 2, conv 128 k3, mean over time, BN, linear."""

    def features(self, x: jax.Array, train: bool, keys: jax.Array | None) -> jax.Array:
        """Maps (b, t, c) to (b, features)."""
        h = LSTM(self.width // 2)(x)
        h = LSTM(self.width // 2)(h)
        h = nn.relu(Conv1D(self.width, 5, 2, bias=True)(h))
        h = nn.max_pool(h, (2,), (2,), "SAME")
        h = nn.relu(Conv1D(2 * self.width, 3, bias=True)(h))
        return BatchNorm(self.axis_name)(h.mean(axis=1), train)
