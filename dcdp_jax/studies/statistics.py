"""Means over seeds or folds, intervals over these or over people, and paired tests."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

RESAMPLES = 10_000
SAME = 1e-9  # differences of scores below this are rounding


class Summary(NamedTuple):
    """One score over seeds, or over folds."""

    n: int  # number of values
    mean: float  # their mean
    deviation: float  # sample standard deviation; NaN for one value
    low: float  # lower end of the 95 % t-interval of the mean; NaN for one value
    high: float  # upper end


class Estimate(NamedTuple):
    """An estimate from the values of seeds or folds with its 95 % t-interval; NaN bounds for one value."""

    value: float
    low: float
    high: float


def summarize(values: Sequence[float] | np.ndarray) -> Summary:
    """Returns mean, sample standard deviation and 95 % t-interval of at least one value."""
    x = np.asarray(values, np.float64)
    n, mean = len(x), float(x.mean())
    if n < 2:
        return Summary(n, mean, np.nan, np.nan, np.nan)
    deviation = float(x.std(ddof=1))
    half = float(stats.t.ppf(0.975, n - 1)) * deviation / n**0.5
    return Summary(n, mean, deviation, mean - half, mean + half)


def difference_interval(pairs: np.ndarray) -> Estimate:
    """Returns the mean difference, first minus second, of (n, 2) pairs with the interval of `summarize`."""
    found = summarize(pairs[:, 0] - pairs[:, 1])
    return Estimate(found.mean, found.low, found.high)


def ratio_interval(x: np.ndarray, y: np.ndarray) -> Estimate | None:
    """Computes mean(x) / mean(y) of n pairs with Fieller's 95 % interval; None if the interval of mean(y) contains 0.

    The interval contains every r for which the t-test at 5 % does not reject that x - r y has mean 0:
    (mean(x) - r mean(y))^2 <= t^2 (s_xx - 2 r s_xy + r^2 s_yy), where t is the 97.5 % quantile of n - 1 degrees of
    freedom and s are the variances and the covariance of the means. It is bounded if that of mean(y) excludes 0
    (Fieller 1954, Some problems in interval estimation).
    """
    if len(x) < 2 or not summarize(y).low > 0:
        return None
    mean_x, mean_y = np.mean(x), np.mean(y)
    (xx, xy), (_, yy) = stats.t.ppf(0.975, len(x) - 1) ** 2 * np.cov(x, y) / len(x)
    # The bounds are the roots of a r^2 - 2 b r + c.
    a, b, c = mean_y**2 - yy, mean_x * mean_y - xy, mean_x**2 - xx
    half = np.sqrt(max(b**2 - a * c, 0))
    return Estimate(float(mean_x / mean_y), float((b - half) / a), float((b + half) / a))


def paired(*columns: Mapping[tuple[int, int], float]) -> np.ndarray:
    """Returns the values (n, m) of the folds and seeds, {(fold, seed): value}, that all of m columns have.

    There is a row for each seed or, with several folds, a row for each fold with the means over its seeds, because the
    seeds of a fold are tested on the same people and are not independent measurements.
    """
    common = [key for key in columns[0] if all(key in column for column in columns)]
    values = np.array([[column[key] for column in columns] for key in common]).reshape(-1, len(columns))
    folds = np.array([fold for fold, _ in common])
    if len(different := dict.fromkeys(folds.tolist())) < 2:
        return values
    return np.stack([values[folds == fold].mean(axis=0) for fold in different])


def paired_p(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> float:
    """Computes the two-sided p of the paired t-test that two rows have equal mean scores, paired by seed or fold.

    1 if all pairs are equal. NaN for fewer than two pairs, and if all differ by the same amount, as for two models that
    give the same result with every seed: without a variance there is no test.
    """
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    if len(difference) < 2:
        return float("nan")
    if np.ptp(difference) < SAME:
        return float("nan") if np.abs(difference).max() >= SAME else 1.0
    return float(stats.ttest_1samp(difference, 0).pvalue)


# statsmodels has this correction too, but takes two seconds to import.
def holm(p: Sequence[float]) -> list[float]:
    """Corrects p values for several comparisons (Holm 1979). NaN stay NaN and do not count as comparisons."""
    values = np.asarray(p, np.float64)
    corrected = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    ordered = known[np.argsort(values[known], kind="stable")]
    factors = np.arange(len(known), 0, -1)
    corrected[ordered] = np.maximum.accumulate(np.minimum(1, factors * values[ordered]))
    return corrected.tolist()


def subject_interval(accuracy: Mapping[str, float], windows: Mapping[str, int]) -> tuple[float, float]:
    """Computes the 95 % bootstrap interval of the accuracy over test subjects; NaN for a single subject.

    Subjects are drawn with replacement, each with all of its windows (a cluster bootstrap, percentile interval). The
    interval shows how the accuracy would vary with other people, which the seeds of one test set do not show.

    Args:
      accuracy: {subject: share of its windows that are classified correctly}, a mean over several seeds.
      windows: {subject: number of its windows}.
    """
    if len(accuracy) < 2:
        return np.nan, np.nan
    counts = np.array([windows[subject] for subject in accuracy], np.float64)
    right = np.array(list(accuracy.values())) * counts
    drawn = np.random.default_rng(0).integers(len(counts), size=(RESAMPLES, len(counts)))
    low, high = np.quantile(right[drawn].sum(axis=1) / counts[drawn].sum(axis=1), (0.025, 0.975))
    return float(low), float(high)


def subjects_p(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    """Computes the two-sided p of a sign-flip permutation test over the subjects of two {subject: accuracy}.

    Under the null hypothesis the two accuracies of each subject may be exchanged. All exchanges are tried for up to 13
    subjects, and 10,000 random ones for more. p is NaN for fewer than two common subjects, 1 where all differences
    are 0.
    """
    difference = np.array([a[subject] - b[subject] for subject in a if subject in b], np.float64)
    if len(difference) < 2:
        return float("nan")
    if not difference.any():
        return 1.0
    test = stats.permutation_test(
        (difference,),
        lambda x, axis: x.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(0),
    )
    return float(test.pvalue)
