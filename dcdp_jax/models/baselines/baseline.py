"""The base class of baselines, and a wrapper that gives one the interface of a model with branches."""

from collections.abc import Callable

import flax.linen as nn
import jax

from dcdp_jax.models.instance_norm import with_instance_norm
from dcdp_jax.models.kernels import Dense
from dcdp_jax.models.multipath import Outputs


class Baseline(nn.Module):
    """A network with one prediction from all channels: `features` of a window and a linear classifier.

    Attributes:
      classes: k.
      width: 64 gives the published size; every layer's width is proportional to it.
      axis_name: see `BatchNorm`; no effect in a network without one.
    """

    classes: int
    width: int = 64
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, keys: jax.Array | None) -> jax.Array:
        """Maps (b, t, c) to logits (b, k). Keys are (b,) random keys for dropout, or None for no dropout."""
        return Dense(self.classes, name="classifier")(self.features(x, train, keys))

    def features(self, x: jax.Array, train: bool, keys: jax.Array | None) -> jax.Array:
        """Maps (b, t, c) to (b, features)."""
        raise NotImplementedError


class SinglePath(nn.Module):
    """A baseline as a model without branches. Its loss is the cross-entropy of its one prediction.

    Parameters: one top-level entry, `network`.

    Attributes:
      network: the baseline.
      instance_norm: whether it reads its channels `with_instance_norm`.
    """

    network: nn.Module
    instance_norm: bool = False

    def __call__(
        self,
        x: jax.Array,
        train: bool = False,
        keys: jax.Array | None = None,
        modulation: Callable[[dict[str, jax.Array]], dict[str, jax.Array]] | None = None,
    ) -> Outputs:
        """Maps (b, t, c) to `Outputs` with `fusion` only. Takes the arguments of `MultiPath`; nothing is modulated."""
        del modulation
        x = with_instance_norm(x) if self.instance_norm else x
        return Outputs(self.network(x, train, keys), {}, {}, [])
