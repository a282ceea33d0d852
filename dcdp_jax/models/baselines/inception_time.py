"""InceptionTime (Ismail Fawaz et al. 2020, "InceptionTime: Finding AlexNet for time series classification")."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from dcdp_jax.models.baselines.baseline import Baseline
from dcdp_jax.models.batch_norm import BatchNorm
from dcdp_jax.models.conv import Conv1D

MODULES = 6
KERNELS = (40, 20, 10)


class InceptionModule(nn.Module):
    """Convolutions k40, k20 and k10 of a 1x1 bottleneck, beside a 1x1 convolution of a max-pool 3; BN and ReLU."""

    features: int  # output channels of each of the four, and of the bottleneck
    axis_name: str | None = None  # see `BatchNorm`

    @nn.compact
    def __call__(self, h: jax.Array, train: bool) -> jax.Array:
        """Maps (b, t, c) to (b, t, 4 features)."""
        narrow = Conv1D(self.features, 1, name="bottleneck")(h) if h.shape[-1] > 1 else h
        parts = [Conv1D(self.features, kernel, name=f"k{kernel}")(narrow) for kernel in KERNELS]
        pooled = nn.max_pool(h, (3,), strides=(1,), padding="SAME")
        parts.append(Conv1D(self.features, 1, name="pooled")(pooled))
        return BatchNorm(self.axis_name, relu=True)(jnp.concatenate(parts, axis=-1), train)


class InceptionTime(Baseline):
    """Six Inception modules of 4 x 32 channels, a residual connection around every three, mean over time, linear.

    This is one network. The source's classifier is an ensemble of five, see `--mode=ensemble`.
    """

    def features(self, x: jax.Array, train: bool, keys: jax.Array | None) -> jax.Array:
        """Maps (b, t, c) to (b, features)."""
        features = max(self.width // 2, 1)
        h = shortcut = x
        for module in range(MODULES):
            h = InceptionModule(features, self.axis_name)(h, train)
            if module % 3 == 2:
                projected = BatchNorm(self.axis_name)(Conv1D(4 * features, 1)(shortcut), train)
                h = shortcut = nn.relu(h + projected)
        return h.mean(axis=1)
