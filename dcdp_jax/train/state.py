"""The training state: arrays only."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct


class TrainState(struct.PyTreeNode):
    """All that training changes. Random keys are made from (seed, step), so this is all that resuming needs.

    Attributes:
      step: () int32, steps taken.
      params: of the model; one top-level entry per branch, plus `projection` and `fusion`; for a baseline
        `network` alone.
      batch_stats: running statistics of batch normalisation, empty for a model without any.
      opt_state: of the optax chain.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any


def create_state(
    model: nn.Module, optimizer: optax.GradientTransformation, seed: int, window: int, channels: int
) -> TrainState:
    """Initial state.

    Args:
      model: the network.
      optimizer: the chain.
      seed: of the initial parameters.
      window: samples per window.
      channels: of the data.

    Returns:
      `TrainState` at step 0.
    """
    variables = jax.jit(model.init)(jax.random.key(seed), jnp.zeros((1, window, channels)))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables.get("batch_stats", {}),
        opt_state=jax.jit(optimizer.init)(variables["params"]),
    )
