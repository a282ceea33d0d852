"""The training state: arrays only."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct


class TrainState(struct.PyTreeNode):
    """All that training changes. Random keys are made from (seed, step), so this is all that resuming needs.

    Attributes:
      seed: () int32, of all random keys.
      step: () int32, steps taken.
      params: of the model; one top-level entry per branch, plus `projection` and `fusion`; for a baseline
        `network` alone.
      batch_stats: running statistics of batch normalisation, empty for a model without any.
      opt_state: of the optax chain.
    """

    seed: jax.Array
    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any


@functools.partial(jax.jit, static_argnames=("model", "optimizer", "window", "channels"))
def create_state(
    model: nn.Module, optimizer: optax.GradientTransformation, seed: int, window: int, channels: int
) -> TrainState:
    """Initial state; compiled once for all seeds.

    Args:
      model: the network.
      optimizer: the chain.
      seed: of the initial parameters and of all random keys.
      window: samples per window.
      channels: of the data.

    Returns:
      `TrainState` at step 0.
    """
    variables = model.init(jax.random.key(seed), jnp.zeros((1, window, channels)))
    return TrainState(
        seed=jnp.asarray(seed, jnp.int32),
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(variables["params"]),
    )
