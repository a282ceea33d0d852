"""Heads on pooled features: projection into the contrast space, and the fusion classifier."""

import flax.linen as nn
import jax

from dcdp_jax.models.batch_norm import BatchNorm
from dcdp_jax.models.dropout import dropout
from dcdp_jax.models.kernels import Dense


class ProjectionHead(nn.Module):
    """g: Dense, BN, ReLU, Dense; one per stage and branch."""

    hidden: int = 256
    features: int = 128
    axis_name: str | None = None

    @nn.compact
    def __call__(self, h: jax.Array, train: bool) -> jax.Array:
        """(b, c) -> (b, features), not normalised."""
        h = Dense(self.hidden, use_bias=False)(h)
        h = BatchNorm(self.axis_name, relu=True)(h, train)
        return Dense(self.features)(h)


class FusionHead(nn.Module):
    """The model's prediction from the concatenated branch embeddings: Dense, ReLU, dropout, linear."""

    classes: int
    hidden: int = 256
    dropout: float = 0.5

    @nn.compact
    def __call__(self, h: jax.Array, keys: jax.Array | None) -> jax.Array:
        """Logits.

        Args:
          h: (b, branches * d).
          keys: (b,) see `dropout`.

        Returns:
          (b, k).
        """
        h = nn.relu(Dense(self.hidden)(h))
        return Dense(self.classes)(dropout(h, keys, self.dropout))
