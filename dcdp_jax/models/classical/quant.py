"""Quant (Dempster, Schmidt and Webb 2024, "quant: a minimalist interval method for time series classification", Data
Mining and Knowledge Discovery 38).

The features are quantiles of the signals, their smoothed first and their second differences, and their amplitude
spectrum, in fixed intervals: halves, quarters and so on, and the same intervals shifted by half their length.
"""

import math

import numpy as np

from dcdp_jax.models.classical.features import Features

DEPTH = 6
SAMPLES_PER_QUANTILE = 4
SMOOTHING = 5  # samples in the moving average of the first differences


def representations(x: np.ndarray) -> list[np.ndarray]:
    """Returns signals, smoothed differences, second differences and amplitudes of (n, t, c) windows, time last."""
    x = x.transpose(0, 2, 1)
    difference = np.diff(x)
    padded = np.pad(difference, ((0, 0), (0, 0), (SMOOTHING // 2, SMOOTHING // 2)), mode="edge")
    smooth = np.lib.stride_tricks.sliding_window_view(padded, SMOOTHING, axis=-1).mean(axis=-1)
    return [x, smooth, np.diff(difference), np.abs(np.fft.rfft(x)).astype(np.float32)]


def intervals(length: int) -> list[tuple[int, int]]:
    """Returns (begin, end) of 1, 2, 4, ... at most 32 intervals of equal length, each set followed by shifted ones.

    >>> intervals(4)
    [(0, 4), (0, 2), (2, 4), (1, 3), (0, 1), (1, 2), (2, 3), (3, 4)]
    """
    found: list[tuple[int, int]] = []
    for level in range(min(DEPTH, int(math.log2(length)) + 1)):
        edges = np.linspace(0, length, 2**level + 1).astype(int)
        pieces = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
        found += pieces
        middle = sorted(end - begin for begin, end in pieces)[(len(pieces) - 1) // 2]
        if level and middle > 1:
            shift = math.ceil(middle / 2)
            found += [(begin + shift, end + shift) for begin, end in pieces[:-1]]
    return found


def quantiles(x: np.ndarray) -> np.ndarray:
    """Computes quantiles of (n, c, m) over the last axis, one per four samples; every second one minus the mean."""
    count = 1 + (x.shape[-1] - 1) // SAMPLES_PER_QUANTILE
    levels = np.linspace(0, 1, count) if count > 1 else np.array([0.5])
    place = levels * (x.shape[-1] - 1)
    below = np.minimum(place.astype(int), max(x.shape[-1] - 2, 0))
    above = np.minimum(below + 1, x.shape[-1] - 1)
    ordered = np.sort(x, axis=-1)
    found = ordered[..., below] + (place - below).astype(np.float32) * (ordered[..., above] - ordered[..., below])
    found[..., 1::2] -= x.mean(axis=-1, keepdims=True)
    return found


def quant_features(x: np.ndarray) -> np.ndarray:
    """Computes the (n, f) features of (n, t, c) windows."""
    parts = [
        quantiles(representation[..., begin:end])
        for representation in representations(np.asarray(x, np.float32))
        for begin, end in intervals(representation.shape[-1])
    ]
    return np.concatenate([part.reshape(len(x), -1) for part in parts], axis=1)


def make_features(sample: np.ndarray, seed: int) -> Features:
    """Returns `quant_features`, which do not depend on training windows."""
    del sample, seed
    return quant_features
