"""MiniRocket (Dempster, Schmidt and Webb 2021, "MiniRocket: a very fast (almost) deterministic transform for time
series classification", KDD), in its authors' form for several channels.

A feature is the share of samples at which a dilated convolution exceeds a threshold. The 84 kernels have nine taps,
three of 2 and six of -1; each kernel with each dilation reads a random subset of the channels.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dcdp_jax.models.classical.features import Features, dilated_taps

TAPS = 9
FEATURES = 10_000  # upper bound, as in the source
MAX_DILATIONS = 32
KERNELS = np.full((84, TAPS), -1, np.float32)
for _kernel, _taps in zip(KERNELS, itertools.combinations(range(TAPS), 3), strict=True):
    _kernel[list(_taps)] = 2
GOLDEN_RATIO = (5**0.5 + 1) / 2


class Dilation(NamedTuple):
    """The features of one dilation."""

    dilation: int  # samples between the taps
    weights: np.ndarray  # (9 c, 84) kernels on the channels that each reads
    inside: np.ndarray  # (84,) whether a sample counts only if all taps are within the window
    thresholds: np.ndarray  # (84, m)


def choose_dilations(window: int, count: int) -> list[tuple[int, int]]:
    """Returns (dilation, number of thresholds) in exponential steps, `count` thresholds in all, for windows of t."""
    steps = min(count, MAX_DILATIONS)
    largest = np.log2((window - 1) / (TAPS - 1))
    dilations, repeated = np.unique(np.logspace(0, largest, steps, base=2).astype(int), return_counts=True)
    thresholds = (repeated * (count / steps)).astype(int)
    thresholds[: count - thresholds.sum()] += 1
    return list(zip(dilations.tolist(), thresholds.tolist(), strict=True))


def choose_channels(channels: int, rng: np.random.Generator) -> np.ndarray:
    """Returns (84, c) whether a kernel reads a channel. It reads 1 to 9 channels, small numbers more often."""
    most = min(channels, TAPS)
    counts = (2 ** rng.uniform(0, np.log2(most + 1), len(KERNELS))).astype(int)
    ranks = rng.permuted(np.tile(np.arange(channels), (len(KERNELS), 1)), axis=1)
    return ranks < counts[:, None]


def convolve(x: jax.Array, weights: jax.Array, dilation: int) -> jax.Array:
    """Convolves (n, t, c) windows, zero outside, with (9 c, 84) kernels centred on each sample: (n, t, 84)."""
    return jnp.matmul(jnp.concatenate(dilated_taps(x, TAPS, dilation), axis=-1), weights, precision="highest")


def make_features(sample: np.ndarray, seed: int) -> Features:
    """Chooses channels and thresholds.

    A threshold is a quantile of the convolution of one of the sample's (m, t, c) training windows, drawn for each
    kernel and dilation.

    Returns:
      A function from (n, t, c) windows to (n, f) shares, where f is the largest multiple of 84 below 10,000.
    """
    rng = np.random.default_rng(seed)
    t, channels = sample.shape[1:]
    kernel, per_kernel = np.arange(len(KERNELS)), FEATURES // len(KERNELS)
    quantiles = (np.arange(1, per_kernel * len(kernel) + 1) * GOLDEN_RATIO % 1).astype(np.float32)
    parts: list[Dilation] = []
    begin = 0
    for number, (dilation, count) in enumerate(choose_dilations(t, per_kernel)):
        reads = choose_channels(channels, rng)
        weights = (KERNELS.T[:, None] * reads.T).reshape(TAPS * channels, len(kernel)).astype(np.float32)
        drawn = rng.integers(len(sample), size=len(kernel))
        values = np.asarray(convolve(jnp.asarray(sample[drawn]), jnp.asarray(weights), dilation))[kernel, :, kernel]
        levels = quantiles[begin:][: len(kernel) * count].reshape(len(kernel), count)
        thresholds = np.stack([np.quantile(v, level) for v, level in zip(values, levels, strict=True)])
        inside = (number + kernel) % 2 == 1
        parts.append(Dilation(dilation, weights, inside, thresholds.astype(np.float32)))
        begin += len(kernel) * count

    @jax.jit
    def shares(x: jax.Array) -> jax.Array:
        found = []
        for part in parts:
            half = TAPS // 2 * part.dilation
            above = convolve(x, jnp.asarray(part.weights), part.dilation)[..., None] > part.thresholds  # (n, t, 84, m)
            found.append(jnp.where(part.inside[:, None], above[:, half : t - half].mean(1), above.mean(1)))
        return jnp.concatenate([features.reshape(len(x), -1) for features in found], axis=1)

    return lambda x: np.asarray(shares(x))
