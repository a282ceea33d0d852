"""Normalises channels with statistics of the training set."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from dcdp_jax.errors import ConfigError

METHODS = ("zscore", "minmax", "none")
BLOCK = 1 << 14  # samples that are in double precision at a time
SAMPLE = 10_000  # training samples from which the usual distance from the median is estimated
MOST_SPREAD = 1e5  # largest ratio of the standard deviation, or the range, to the usual distance from the median


def normalize(x: Any, shift: Any, scale: Any) -> Any:
    """Returns (x - shift) * scale of (..., c) signals, for (c,) shift and scale, NumPy or JAX arrays."""
    return (x - shift) * scale


class Normalizer(NamedTuple):
    """Shift and scale of each channel: x -> (x - shift) * scale."""

    shift: np.ndarray  # (c,) float32
    scale: np.ndarray  # (c,) float32


def covered_samples(starts: np.ndarray, window: int, length: int) -> np.ndarray:
    """Returns (t,) bool, which of the `length` samples lie in a window from one of the (n,) starts on.

    >>> covered_samples(np.array([1, 2]), window=2, length=5).astype(int).tolist()
    [0, 1, 1, 1, 0]
    """
    change = np.bincount(starts, minlength=length + 1) - np.bincount(starts + window, minlength=length + 1)
    return np.cumsum(change[:length]) > 0


def blocks(signals: np.ndarray, chosen: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the chosen samples, (t,) bool, of (t, c) signals in blocks of double precision."""
    for at in range(0, len(signals), BLOCK):
        mask = chosen[at : at + BLOCK]
        if mask.any():
            yield signals[at : at + BLOCK][mask].astype(np.float64)


def fit_normalizer(signals: np.ndarray, training: np.ndarray, method: str) -> Normalizer:
    """Fits a normaliser to the samples of the training windows, each counted once even if it is in several windows.

    Args:
      signals: (t, c).
      training: (t,) bool, whether a sample lies in a training window; at least one does.
      method: `zscore` (zero mean, unit standard deviation), `minmax` (lowest value 0, highest 1) or `none`. A constant
        channel is only shifted.

    Raises:
      ConfigError: an unknown method.
    """
    if method not in METHODS:
        raise ConfigError(f"data.normalize={method!r} is not one of {', '.join(METHODS)}")
    channels = signals.shape[1]
    if method == "none":
        return Normalizer(np.zeros(channels, np.float32), np.ones(channels, np.float32))
    if method == "minmax":
        low = np.min([block.min(axis=0) for block in blocks(signals, training)], axis=0)
        high = np.max([block.max(axis=0) for block in blocks(signals, training)], axis=0)
        return to_normalizer(low, high - low)
    count = np.count_nonzero(training)
    mean = sum(block.sum(axis=0) for block in blocks(signals, training)) / count
    variance = sum(np.square(block - mean).sum(axis=0) for block in blocks(signals, training)) / count
    return to_normalizer(mean, np.sqrt(variance))


def outlying_channel(signals: np.ndarray, training: np.ndarray, normalizer: Normalizer) -> tuple[int, float] | None:
    """Finds a channel whose scale is set by a few extreme samples, so that normalisation makes all others nearly equal.

    Signals (t, c) and training (t,) are those that the normaliser was fitted on.

    Returns:
      The channel and the 99.9th percentile of its distances to the median, on a part of the training samples; None
      if no channel has normalised distances below 1e-5.
    """
    rows = np.flatnonzero(training)
    values = signals[rows[:: -(-len(rows) // SAMPLE)]].astype(np.float64)
    usual = np.quantile(np.abs(values - np.median(values, axis=0)), 0.999, axis=0)
    # A channel that counts as constant has the scale 1.
    (channels,) = np.nonzero((usual > 0) & (normalizer.scale < 1) & (usual * normalizer.scale * MOST_SPREAD < 1))
    return (int(channels[0]), float(usual[channels[0]])) if len(channels) else None


def to_normalizer(shift: np.ndarray, spread: np.ndarray) -> Normalizer:
    """Returns the normaliser for a shift and a spread of each channel; a spread of rounding size counts as 1."""
    constant = spread <= np.maximum(1e-7 * np.abs(shift), 1e-30)
    return Normalizer(shift.astype(np.float32), (1 / np.where(constant, 1, spread)).astype(np.float32))
