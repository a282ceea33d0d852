"""What all baselines share, and how one stands where the training step expects a model of several branches."""

from collections.abc import Callable

import flax.linen as nn
import jax

from dcdp_jax.models.multipath import Outputs


class Baseline(nn.Module):
    """A network with one prediction from all channels: (x (b, t, c), train, keys (b,) or None) -> logits (b, k).

    Attributes:
      classes: k.
      width: 64 gives the published size; every layer's width is proportional to it.
      axis_name: see `BatchNorm`; of no effect in a network without one.
    """

    classes: int
    width: int = 64
    axis_name: str | None = None


class SinglePath(nn.Module):
    """A baseline as a model without branches: its loss is the cross-entropy of its one prediction.

    Parameters: one top-level entry, `network`.
    """

    network: nn.Module

    def __call__(
        self,
        x: jax.Array,
        train: bool = False,
        keys: jax.Array | None = None,
        modulation: Callable[[dict[str, jax.Array]], dict[str, jax.Array]] | None = None,
    ) -> Outputs:
        """(b, t, c) -> `Outputs` with `fusion` alone. The arguments are those of `MultiPath`; nothing is modulated."""
        del modulation
        return Outputs(self.network(x, train, keys), {}, {}, [])
