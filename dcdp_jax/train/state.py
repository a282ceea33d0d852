"""The training state: arrays only."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

from dcdp_jax.models.kernels import draw_kernels


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


def state_shapes(model: nn.Module, optimizer: optax.GradientTransformation, window: int, channels: int) -> TrainState:
    """The shapes and types of `create_state`, for reading a checkpoint without computing anything."""
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, window, channels)))
    scalar = jax.ShapeDtypeStruct((), jnp.int32)
    return TrainState(
        seed=scalar,
        step=scalar,
        params=variables["params"],
        batch_stats=variables.get("batch_stats", {}),
        opt_state=jax.eval_shape(optimizer.init, variables["params"]),
    )


def shapes_of(state: TrainState) -> TrainState:
    """The shapes and types of a state, without its arrays."""
    return jax.eval_shape(lambda same: same, state)


def create_state(
    model: nn.Module, optimizer: optax.GradientTransformation, seed: int, window: int, channels: int
) -> TrainState:
    """Initial state.

    Args:
      model: the network.
      optimizer: the chain.
      seed: of the initial parameters and of all random keys.
      window: samples per window.
      channels: of the data.

    Returns:
      `TrainState` at step 0.
    """
    x = jnp.zeros((1, window, channels))
    for_kernels, for_others = jax.random.split(jax.random.key(seed))
    kernels = draw_kernels(jax.eval_shape(model.init, for_others, x)["params"], for_kernels)
    return complete_state(model, optimizer, jnp.int32(seed), kernels, for_others, x)


@functools.partial(jax.jit, static_argnames=("model", "optimizer"))
def complete_state(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    seed: jax.Array,
    kernels: Any,
    key: jax.Array,
    x: jax.Array,
) -> TrainState:
    """Initial state from its kernels; what is no kernel starts as the network says. Compiled once for all seeds."""
    variables = model.init(key, x)
    params = jax.tree.map(
        lambda kernel, other: other if kernel is None else kernel,
        kernels,
        variables["params"],
        is_leaf=lambda kernel: kernel is None,
    )
    return TrainState(
        seed=seed,
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(params),
    )
