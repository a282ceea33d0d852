"""The training state, which holds arrays only."""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

from dcdp_jax.models.kernels import draw_kernels
from dcdp_jax.optim import with_key


class TrainState(struct.PyTreeNode):
    """Everything that training changes. Random keys are functions of (seed, step), so resuming needs nothing else."""

    seed: jax.Array  # () int32, of all random keys
    step: jax.Array  # () int32, steps taken
    # one top-level entry per branch, plus `projection` and `fusion`; for a baseline only `network`
    params: Any
    batch_stats: Any  # running statistics of batch normalisation, empty for a model without any
    opt_state: Any  # of the optax chain


class AveragedState(TrainState):
    """A training state with an exponential moving average of the network's variables."""

    average: Any  # {params, batch_stats}


def with_average(state: TrainState) -> AveragedState:
    """Adds an average to a state. It starts at the state's own variables."""
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return AveragedState(**fields, average={"params": state.params, "batch_stats": state.batch_stats})


def update_average(average: Any, variables: Any, step: jax.Array, decay: float | jax.Array) -> Any:
    """Updates an exponential moving average: average <- d * average + (1 - d) * variables.

    d is the smaller of `decay` and (1 + step) / (10 + step), where () step counts the steps before this one. A short
    run thus forgets its initial values, as with TensorFlow's `ExponentialMovingAverage`.
    """
    d = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda old, new: d * old + (1 - d) * new, average, variables)


def evaluated_state(state: TrainState) -> TrainState:
    """Returns the state to evaluate: with the averaged variables if the state has an average, else the state itself."""
    if not isinstance(state, AveragedState):
        return state
    return TrainState(state.seed, state.step, **state.average, opt_state=state.opt_state)


def state_shapes(
    model: nn.Module, optimizer: optax.GradientTransformation, window: int, channels: int, average: bool = False
) -> TrainState:
    """Returns the shapes and types of `create_state`, for reading a checkpoint without computing anything."""
    complete = functools.partial(complete_state, model, optimizer, kernels=None)
    state = jax.eval_shape(complete, seed=jnp.int32(0), key=jax.random.key(0), x=jnp.zeros((1, window, channels)))
    return with_average(state) if average else state


def count_parameters(state: TrainState) -> int:
    """Returns the number of trained parameters, without running statistics."""
    return sum(x.size for x in jax.tree.leaves(state.params))


def create_state(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    seed: int,
    window: int,
    channels: int,
    average: bool = False,
) -> TrainState:
    """Creates the state at step 0, for windows of `window` samples and `channels` channels.

    The seed is for the initial parameters and all random keys. `average` adds an average of the network's variables.
    """
    x = jnp.zeros((1, window, channels))
    for_kernels, for_others = jax.random.split(jax.random.key(seed))
    kernels = draw_kernels(jax.eval_shape(model.init, for_others, x)["params"], for_kernels)
    state = complete_state(model, optimizer, jnp.int32(seed), kernels, for_others, x)
    return with_average(state) if average else state


@functools.partial(jax.jit, static_argnames=("model", "optimizer"))
def complete_state(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    seed: jax.Array,
    kernels: Any,
    key: jax.Array,
    x: jax.Array,
) -> TrainState:
    """Adds the network's other initial values to the kernels of an initial state. Compiled once for all seeds.

    The kernels are a pytree prefix of the parameters, with None where the network's own values stay.
    """
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
        opt_state=with_key(optimizer.init(params), jax.random.fold_in(key, 0)),
    )
