"""Convolutional network (Zeng et al. 2014, "Convolutional Neural Networks for Human Activity Recognition")."""

import jax

from dcdp_jax.models.baselines.baseline import Baseline
from dcdp_jax.models.batch_norm import BatchNorm
from dcdp_jax.models.conv import Conv1D


class CNN(Baseline):
    """Four convolutions k3 stride 2 of 64-128-256-512, BN and ReLU after each, mean over time, linear.

    The source has one convolution; four are what such networks have today.
    """

    def features(self, x: jax.Array, train: bool, keys: jax.Array | None) -> jax.Array:
        """Maps (b, t, c) to (b, features)."""
        h = x
        for layer in range(4):
            h = Conv1D(self.width * 2**layer, 3, 2)(h)
            h = BatchNorm(self.axis_name, relu=True)(h, train)
        return h.mean(axis=1)
