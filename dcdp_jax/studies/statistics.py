"""Means over seeds, their intervals, and paired tests."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats


class Summary(NamedTuple):
    """Of one score over seeds and folds.

    Attributes:
      n: how many.
      mean: of them.
      deviation: sample standard deviation; NaN for one.
      low: lower end of the 95 % t-interval of the mean; NaN for one.
      high: upper end.
    """

    n: int
    mean: float
    deviation: float
    low: float
    high: float


def summarize(values: Sequence[float]) -> Summary:
    """Mean, deviation and 95 % t-interval.

    Args:
      values: at least one.
    """
    x = np.asarray(values, np.float64)
    n, mean = len(x), float(x.mean())
    if n < 2:
        return Summary(n, mean, np.nan, np.nan, np.nan)
    deviation = float(x.std(ddof=1))
    half = float(stats.t.ppf(0.975, n - 1)) * deviation / n**0.5
    return Summary(n, mean, deviation, mean - half, mean + half)


def paired_p(a: Sequence[float], b: Sequence[float]) -> float:
    """Two-sided p of the paired t-test that two rows have the same mean.

    Args:
      a: a score by seed and fold.
      b: of the same seeds and folds.

    Returns:
      p; NaN for fewer than two pairs; 1 where all pairs are equal.
    """
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    if len(difference) < 2:
        return float("nan")
    if not difference.any():
        return 1.0
    deviation = difference.std(ddof=1)
    if deviation == 0:
        return 0.0
    t = difference.mean() / (deviation / len(difference) ** 0.5)
    return float(2 * stats.t.sf(abs(t), len(difference) - 1))


def holm(p: Sequence[float]) -> list[float]:
    """P values corrected for several comparisons (Holm 1979); NaN stay and do not count."""
    values = np.asarray(p, np.float64)
    corrected = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    ordered = known[np.argsort(values[known], kind="stable")]
    highest = 0.0
    for rank, index in enumerate(ordered):
        highest = max(highest, min(1.0, (len(known) - rank) * values[index]))
        corrected[index] = highest
    return corrected.tolist()
