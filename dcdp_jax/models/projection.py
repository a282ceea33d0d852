"""The heads that project pooled features into the space of the contrast."""

import flax.linen as nn
import jax

from dcdp_jax.models.batch_norm import BatchNorm
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
