"""CNN-GRU (Dua et al. 2021, "Multi-input CNN-GRU based human activity recognition", Computing 103)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from dcdp_jax.models.baselines.baseline import Baseline
from dcdp_jax.models.baselines.recurrent import GRU
from dcdp_jax.models.batch_norm import BatchNorm
from dcdp_jax.models.conv import Conv1D
from dcdp_jax.models.dropout import dropout, keys_of_layer
from dcdp_jax.models.kernels import Dense

KERNELS = (3, 7, 11)


class CNNGRU(Baseline):
    """Three heads with kernels 3, 7 and 11, joined by channel, then GRU 128, GRU 64, dense 64, BN, ReLU, linear.

    A head is conv 64, ReLU, conv 32, ReLU, dropout, max-pool 2. The width of the dense layer is ours.
    """

    dropout: float = 0.5  # rate in the heads

    def features(self, x: jax.Array, train: bool, keys: jax.Array | None) -> jax.Array:
        """Maps (b, t, c) to (b, features)."""
        heads = []
        for kernel in KERNELS:
            h = nn.relu(Conv1D(self.width, kernel, bias=True)(x))
            h = nn.relu(Conv1D(self.width // 2, kernel, bias=True)(h))
            h = dropout(h, keys_of_layer(keys, kernel), self.dropout)
            heads.append(nn.max_pool(h, (2,), (2,), "SAME"))
        h = GRU(2 * self.width)(jnp.concatenate(heads, axis=-1))
        h = GRU(self.width)(h)[:, -1]
        h = Dense(self.width, use_bias=False)(h)
        return BatchNorm(self.axis_name, relu=True)(h, train)
