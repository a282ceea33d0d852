"""1-D DenseNet: each layer reads the concatenation of all layers before it in its block (Huang et al. 2017)."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from dcdp_jax.models.batch_norm import BatchNorm
from dcdp_jax.models.conv import Conv1D
from dcdp_jax.models.gradient import sum_gradient_once


class DenseLayer(nn.Module):
    """H([h0, ..., h(k-1)]): BN, ReLU, conv 1x1 to bottleneck * growth, BN, ReLU, conv k3 to growth."""

    growth: int
    bottleneck: int = 4
    axis_name: str | None = None

    @nn.compact
    def __call__(self, h: jax.Array, train: bool) -> jax.Array:
        """Maps (b, t, c) to (b, t, growth)."""
        h = BatchNorm(self.axis_name, relu=True)(h, train)
        h = Conv1D(self.bottleneck * self.growth, 1)(h)
        h = BatchNorm(self.axis_name, relu=True)(h, train)
        return Conv1D(self.growth, 3)(h)


class Transition(nn.Module):
    """Between two dense blocks: BN, ReLU, conv 1x1 to half the channels, average pool 2."""

    axis_name: str | None = None

    @nn.compact
    def __call__(self, h: jax.Array, train: bool) -> jax.Array:
        """Maps (b, t, c) to (b, t // 2, c // 2)."""
        channels = h.shape[-1] // 2
        h = BatchNorm(self.axis_name, relu=True)(h, train)
        h = Conv1D(channels, 1)(h)
        # Slices of pairs: TFLite cannot quantise a window reduction, which is the same sum.
        t = h.shape[1] // 2 * 2
        return (h[:, 0:t:2] + h[:, 1:t:2]) / 2


class DenseNet1D(nn.Module):
    """The `dense` backbone: stem k7 stride 1, one dense block per entry of blocks, a transition between blocks."""

    blocks: Sequence[int] = (4, 4, 6, 4)  # layers per dense block; the paper's best is (4, 4, 6, 4)
    growth: int = 32  # channels that a layer adds
    stem: int = 64  # channels of the stem
    axis_name: str | None = None  # see `BatchNorm`

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> list[jax.Array]:
        """Returns the features of every stage of (b, t, c) windows, averaged over time: (b, channels of the stage).

        In training, batch statistics are used and the running statistics are updated.
        """
        h = Conv1D(self.stem, 7, name="stem")(x)
        stages = []
        for stage, count in enumerate(self.blocks):
            if stage > 0:
                h = Transition(self.axis_name, name=f"transition{stage}")(h, train)
            for layer in range(count):
                new = DenseLayer(self.growth, axis_name=self.axis_name, name=f"stage{stage + 1}_layer{layer + 1}")(
                    h, train
                )
                h = sum_gradient_once(jnp.concatenate([h, new], axis=-1))
            if stage == len(self.blocks) - 1:
                h = BatchNorm(self.axis_name, relu=True, name="norm")(h, train)
            stages.append(h.mean(axis=1))
        return stages
