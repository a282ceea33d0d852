"""Types of functions that compute features of windows, and simple statistics."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

Features = Callable[[np.ndarray], np.ndarray]  # (n, t, c) -> (n, f) float32
MakeFeatures = Callable[[np.ndarray, int], Features]  # ((m, t, c) some training windows, seed) -> Features


def dilated_taps(x: jax.Array, taps: int, dilation: int) -> list[jax.Array]:
    """Returns the values (n, t, c) at each of an odd number of dilated taps around every sample; 0 outside a window."""
    t, half = x.shape[1], taps // 2 * dilation
    padded = jnp.pad(x, ((0, 0), (half, half), (0, 0)))
    return [padded[:, tap * dilation :][:, :t] for tap in range(taps)]


def window_statistics(x: np.ndarray) -> np.ndarray:
    """Computes mean, standard deviation, minimum, quartiles, maximum and mean absolute step of each channel.

    (n, t, c) windows give (n, 8 c), channel by channel within each statistic.
    """
    quantiles = np.quantile(x, (0, 0.25, 0.5, 0.75, 1), axis=1)
    steps = np.abs(np.diff(x, axis=1)).mean(axis=1)
    return np.concatenate([x.mean(axis=1), x.std(axis=1), *quantiles, steps], axis=1)


def make_statistics(sample: np.ndarray, seed: int) -> Features:
    """Returns `window_statistics`, which do not depend on training windows."""
    del sample, seed
    return window_statistics
