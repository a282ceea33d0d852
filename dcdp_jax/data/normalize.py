"""Statistics of the training part, per channel."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dcdp_jax.data.recording import Recording
from dcdp_jax.data.windows import Interval

METHODS = ("zscore", "none")


class Normalizer(NamedTuple):
    """x -> (x - shift) * scale.

    Attributes:
      shift: (c,) float32.
      scale: (c,) float32.
    """

    shift: np.ndarray
    scale: np.ndarray


def fit_normalizer(recordings: Sequence[Recording], training: Sequence[Interval], method: str) -> Normalizer:
    """Fits on the training intervals only.

    Args:
      recordings: the data.
      training: the training part.
      method: `zscore` (zero mean, unit deviation) or `none`. A constant channel is only shifted.

    Returns:
      `Normalizer`.

    Raises:
      ValueError: an unknown method.
    """
    channels = len(recordings[0].channels)
    if method == "none":
        return Normalizer(np.zeros(channels, np.float32), np.ones(channels, np.float32))
    if method != "zscore":
        raise ValueError(f"normaliser {method!r} is none of {METHODS}")
    parts = [recordings[i].signals[start:stop] for i, start, stop in training]
    count = sum(map(len, parts))
    mean = sum(part.sum(axis=0, dtype=np.float64) for part in parts) / count
    variance = sum(np.square(part - mean).sum(axis=0) for part in parts) / count
    deviation = np.sqrt(np.where(variance > 0, variance, 1))
    return Normalizer(mean.astype(np.float32), (1 / deviation).astype(np.float32))
