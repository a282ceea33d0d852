"""1-D convolution and batch normalisation, the two layers that both backbones are made of."""

import flax.linen as nn
import jax
from jax import lax

he_normal = nn.initializers.he_normal()


def convolve(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """(b, t, c_in) with (k, c_in, c_out) -> (b, ceil(t / stride), c_out)."""
    return lax.conv_general_dilated(x, kernel, (stride,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))


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
        kernel = self.param("kernel", he_normal, (self.kernel, x.shape[-1], self.features))
        return convolve(x, kernel, self.stride)


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
