"""Training steps of several seeds in one program."""

from typing import Any

import jax
import jax.numpy as jnp

from dcdp_jax.train.state import TrainState
from dcdp_jax.train.step import Batch, Signals, train_steps


def train_seeds(
    states: TrainState, signals: Signals, batches: Batch, *, seed_axis: int = 1, **static: Any
) -> tuple[TrainState, dict[str, Any]]:
    """`train_steps` of several seeds at once. Each computes what it would alone, from its own windows and random keys.

    Args:
      states: replicated, every array with a leading axis s.
      signals: replicated; all seeds read the same.
      batches: this device's share: `starts` and `labels` (b, s, n), `count` (b,) as in `train_steps`, and `active`
        (b, s), the same in every row: a seed that is not keeps its state.
      seed_axis: of `batches` but `count`; 0 where the seeds are divided among the devices.
      **static: of `train_step`.

    Returns:
      The states after the steps, and their metrics (s, n).
    """

    def one(state: TrainState, batch: Batch, count: jax.Array) -> tuple[TrainState, dict[str, Any]]:
        return train_steps(state, signals, {**batch, "count": count}, **static)

    windows = {name: batches[name] for name in ("starts", "labels")}
    following, metrics = jax.vmap(one, in_axes=(0, seed_axis, None))(states, windows, batches["count"])
    active = jnp.take(batches["active"], 0, axis=1 - seed_axis)

    def chosen(new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(active.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return jax.tree.map(chosen, following, states), metrics


def train_divided_seeds(
    states: TrainState, signals: Signals, batches: Batch, *, axis_name: str, **static: Any
) -> tuple[TrainState, dict[str, Any]]:
    """`train_seeds` where each device has some seeds, and of those the whole batch.

    Args:
      states: this device's, every array with a leading axis s.
      signals: replicated.
      batches: this device's seeds': `starts` and `labels` (s, b, n), `active` (s, b) and `count` (s,).
      axis_name: over which the steps take the mean of the batch; it has one place here.
      **static: of `train_step`.

    Returns:
      As `train_seeds`, for the seeds of this device.
    """

    def on_whole_batch(batches: Batch) -> tuple[TrainState, dict[str, Any]]:
        return train_seeds(states, signals, batches, seed_axis=0, axis_name=axis_name, **static)

    found = jax.vmap(on_whole_batch, axis_name=axis_name)(jax.tree.map(lambda x: x[None], dict(batches)))
    return jax.tree.map(lambda x: x[0], found)
