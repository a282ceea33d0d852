"""1-D ResNet of pre-activation basic blocks: h^(k) = h^(k-1) + F_k(h^(k-1)), F_k of BN, ReLU and conv."""

from collections.abc import Sequence

import flax.linen as nn
import jax

from dcdp_jax.models.batch_norm import BatchNorm
from dcdp_jax.models.conv import Conv1D


class BasicBlock(nn.Module):
    """h + F(h) with F = BN, ReLU, conv k3, BN, ReLU, conv k3; a 1x1 convolution if the shape changes."""

    features: int
    stride: int = 1
    axis_name: str | None = None

    @nn.compact
    def __call__(self, h: jax.Array, train: bool) -> jax.Array:
        """Maps (b, t, c) to (b, ceil(t / stride), features)."""
        residual = BatchNorm(self.axis_name, relu=True)(h, train)
        if self.stride != 1 or h.shape[-1] != self.features:
            h = Conv1D(self.features, 1, self.stride, name="shortcut")(residual)
        residual = Conv1D(self.features, 3, self.stride)(residual)
        residual = BatchNorm(self.axis_name, relu=True)(residual, train)
        return h + Conv1D(self.features, 3)(residual)


class ResNet1D(nn.Module):
    """The `res` backbone: stem k7 stride 1, a stage per entry of blocks, widths doubling, stride 2 from the second."""

    blocks: Sequence[int] = (3, 4, 6, 3)  # basic blocks per stage; the paper's best is (3, 4, 6, 3)
    width: int = 64  # channels of the first stage; 64 gives 64-128-256-512
    axis_name: str | None = None  # see `BatchNorm`

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> list[jax.Array]:
        """Returns the features of every stage l of (b, t, c) windows, averaged over time: (b, width * 2**(l-1)).

        In training, batch statistics are used and the running statistics are updated.
        """
        h = Conv1D(self.width, 7, name="stem")(x)
        stages = []
        for stage, count in enumerate(self.blocks):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                h = BasicBlock(
                    self.width * 2**stage, stride, self.axis_name, name=f"stage{stage + 1}_block{block + 1}"
                )(h, train)
            if stage == len(self.blocks) - 1:
                h = BatchNorm(self.axis_name, relu=True, name="norm")(h, train)
            stages.append(h.mean(axis=1))
        return stages
