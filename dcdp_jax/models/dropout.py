"""Dropout with a key per window."""

import jax
import jax.numpy as jnp

from dcdp_jax.optim.branches import is_zero


def dropout(h: jax.Array, keys: jax.Array | None, rate: float | jax.Array) -> jax.Array:
    """Sets random features to zero and divides the others by the share that is kept.

    Args:
      h: (b, ...).
      keys: (b,) random keys, one per window, or None for no dropout. A key per window makes the mask independent of
        how the batch is split over devices.
      rate: share that is dropped, in [0, 1).

    Returns:
      (b, ...).
    """
    if keys is None or is_zero(rate):
        return h
    keep = jnp.asarray(1 - rate, jnp.float32)
    mask = jax.vmap(lambda key: jax.random.bernoulli(key, keep, h.shape[1:]))(keys)
    return jnp.where(mask, h / keep.astype(h.dtype), 0)


def keys_of_layer(keys: jax.Array | None, layer: int) -> jax.Array | None:
    """Derives the keys (b,) of one of several dropout layers; None stays None."""
    return None if keys is None else jax.vmap(jax.random.fold_in, (0, None))(keys, layer)
