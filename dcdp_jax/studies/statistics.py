"""Means over seeds and folds, intervals over seeds or over people, and paired tests."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

RESAMPLES = 10_000


class Summary(NamedTuple):
    """One score over seeds and folds."""

    n: int  # number of values
    mean: float  # their mean
    deviation: float  # sample standard deviation; NaN for one value
    low: float  # lower end of the 95 % t-interval of the mean; NaN for one value
    high: float  # upper end


class Interval(NamedTuple):
    """A statistic of the means over seeds and folds, with its 95 % bootstrap interval; NaN bounds for one of them."""

    value: float
    low: float
    high: float


def difference(means: np.ndarray) -> np.ndarray:
    """Returns by how much the first of the means (..., m) exceeds the second, for `bootstrap`."""
    return means[..., 0] - means[..., 1]


def bootstrap(values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]) -> Interval:
    """Returns a function of the column means, with the percentile interval over rows drawn with replacement.

    The values (n, m) are m numbers of each of n seeds and folds, which are drawn together. The statistic takes means
    (..., m) and returns (...).
    """
    value = float(statistic(values.mean(axis=0)))
    if len(values) < 2:
        return Interval(value, np.nan, np.nan)
    drawn = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = np.nanquantile(statistic(values[drawn].mean(axis=1)), (0.025, 0.975))
    return Interval(value, float(low), float(high))


def summarize(values: Sequence[float]) -> Summary:
    """Returns mean, sample standard deviation and 95 % t-interval of at least one value."""
    x = np.asarray(values, np.float64)
    n, mean = len(x), float(x.mean())
    if n < 2:
        return Summary(n, mean, np.nan, np.nan, np.nan)
    deviation = float(x.std(ddof=1))
    half = float(stats.t.ppf(0.975, n - 1)) * deviation / n**0.5
    return Summary(n, mean, deviation, mean - half, mean + half)


def paired(*columns: Mapping[tuple[int, int], float]) -> np.ndarray:
    """Returns the (n, m) values of the n folds and seeds, {(fold, seed): value}, that all of m columns have."""
    common = [key for key in columns[0] if all(key in column for column in columns)]
    return np.array([[column[key] for column in columns] for key in common]).reshape(-1, len(columns))


def paired_p(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> float:
    """Returns the two-sided p of the paired t-test that two rows have the same mean score, by the same seeds and folds.

    NaN for fewer than two pairs; 1 where all pairs are equal, 0 where all differ by the same amount.
    """
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    if len(difference) < 2:
        return float("nan")
    if difference.std() == 0:
        return 0.0 if difference.any() else 1.0
    return float(stats.ttest_1samp(difference, 0).pvalue)


# statsmodels has this correction, and takes two seconds to import.
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
    """Returns the 95 % bootstrap interval of the accuracy over test subjects; NaN for a single one.

    Subjects are drawn with replacement, each with all of its windows (a cluster bootstrap, percentile interval): the
    interval says how the accuracy would vary with other people, which the seeds of one test part do not tell. It is of
    {subject: share of its windows that is right}, a mean over seeds where there are several, and {subject: windows}.
    """
    rows = [(share * windows[subject], windows[subject]) for subject, share in accuracy.items()]
    return bootstrap(np.array(rows, np.float64), lambda means: means[..., 0] / means[..., 1])[1:]


def subjects_p(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    """Returns the two-sided p of a sign-flip permutation test over the subjects of two {subject: accuracy}.

    The null hypothesis: which of the two models has which accuracy on a person is a coin flip. All flips are tried for
    up to 13 subjects, 10,000 random ones for more. p is NaN for fewer than two common subjects, 1 where all differences
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
