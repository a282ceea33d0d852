"""Mixup of training windows.

H. Zhang et al. 2018, mixup: Beyond empirical risk minimization. https://arxiv.org/abs/1710.09412
"""

import jax
import jax.numpy as jnp

# Keeps the key apart from those of the windows, which are numbered from 0.
STREAM = 0x6D697875


def draw_pairs(
    seed: int | jax.Array, step: jax.Array, windows: int, alpha: float | jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Draws the pairs of a global batch of n windows, a function of seed and step.

    Returns:
      (n,) the window that each window is mixed with, a permutation that may map some to themselves; and (n,) the share
      of the window itself, the larger of x and 1 - x for x from Beta(alpha, alpha), so that its label has the larger
      share.
    """
    pairing, mixing = jax.random.split(jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), step), STREAM))
    shares = jax.random.beta(mixing, alpha, alpha, (windows,))
    return jax.random.permutation(pairing, windows), jnp.maximum(shares, 1 - shares)


def mixup(
    x: jax.Array, labels: jax.Array, seed: int | jax.Array, step: jax.Array, alpha: float | jax.Array, axis_name: str
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Mixes each window (b, t, c) with another of the global batch, whatever the number of devices.

    The other windows are gathered over axis_name. See `draw_pairs` for the shares.

    Returns:
      (b, t, c) mixed windows, (b,) labels of the windows that they were mixed with, (b,) shares of their own.
    """
    every, every_label = jax.lax.all_gather((x, labels), axis_name, tiled=True)
    partners, shares = draw_pairs(seed, step, len(every), alpha)
    own = jax.lax.axis_index(axis_name) * len(x) + jnp.arange(len(x))
    partners, shares = partners[own], shares[own]
    share = shares[:, None, None]
    return share * x + (1 - share) * every[partners], every_label[partners], shares
