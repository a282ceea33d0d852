"""1-D convolution and batch normalisation, the two layers that both backbones are made of."""

import flax.linen as nn
import jax

he_normal = nn.initializers.he_normal()


class Conv1D(nn.Module):
    """Convolution over time without bias, zero padding such that t_out = ceil(t / stride).

    Attributes:
      features: output channels.
      kernel: taps.
      stride: step over time.
    """

    features: int
    kernel: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(b, t, c) -> (b, ceil(t / stride), features)."""
        return nn.Conv(
            self.features, (self.kernel,), (self.stride,), padding="SAME", use_bias=False, kernel_init=he_normal
        )(x)


class BatchNorm(nn.Module):
    """Batch normalisation whose statistics are those of the global batch.

    Attributes:
      axis_name: mapped axis over which the batch is split, or None when it is whole.
    """

    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """(b, ..., c) -> (b, ..., c)."""
        return nn.BatchNorm(
            use_running_average=not train, momentum=0.9, epsilon=1e-5, axis_name=self.axis_name
        )(x)
