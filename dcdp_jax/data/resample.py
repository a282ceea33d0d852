"""Rows with irregular time stamps and missing values -> evenly spaced samples in contiguous stretches."""

from typing import NamedTuple

import numpy as np

METHODS = ("linear", "nearest")
MISSING = ("interpolate", "split", "error")


class Even(NamedTuple):
    """Evenly spaced samples.

    Attributes:
      values: (t, c) float32, all finite.
      time: (t,) seconds.
      rows: (t,) the row that is nearest in time to each sample, the earlier of two.
      starts: (s,) int64 first sample of each contiguous stretch.
    """

    values: np.ndarray
    time: np.ndarray
    rows: np.ndarray
    starts: np.ndarray


def resample(
    time: np.ndarray,
    values: np.ndarray,
    *,
    rate: float,
    max_gap: float,
    method: str = "linear",
    missing: str = "interpolate",
    keep_rows: bool = False,
) -> Even:
    """Lays a grid of 1 / rate seconds from the first row of every stretch of rows to its last.

    Two rows that are more than max_gap apart end one stretch and begin another. A sample is left out, and the stretch
    divided there, where a channel has no value nearby.

    Args:
      time: (n,) seconds, rising.
      values: (n, c), NaN where missing.
      rate: samples per second.
      max_gap: seconds.
      method: `linear`: between the values before and after. `nearest`: the nearer one, the earlier of two.
      missing: `interpolate`: values before and after a missing one serve for the samples between them, if they are
        no more than max_gap apart. `split`: samples next to a missing value are left out.
      keep_rows: whether rows are the samples already, one each, whatever the rate.

    Returns:
      `Even`, empty where no sample has all channels.
    """
    breaks = np.flatnonzero(np.diff(time) > max_gap) + 1
    parts = []
    for first, last in zip([0, *breaks], [*breaks, len(time)], strict=True):
        t, x = time[first:last], values[first:last]
        steps = int((t[-1] - t[0]) * rate + 1e-6) + 1
        grid = t if keep_rows else np.minimum(t[0] + np.arange(steps) / rate, t[-1])
        filled = np.empty((len(grid), x.shape[1]), np.float32)
        for c in range(x.shape[1]):
            filled[:, c] = fill(grid, t, x[:, c], max_gap, method, missing)
        complete = np.isfinite(filled).all(axis=1)
        edges = np.flatnonzero(np.diff(complete, prepend=False, append=False))
        rows = first + nearest(grid, t)
        parts += [(filled[a:b], grid[a:b], rows[a:b]) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    if len(parts) == 1:
        return Even(*parts[0], np.zeros(1, np.int64))
    lengths = [len(rows) for _, _, rows in parts]
    return Even(
        values=np.concatenate([np.zeros((0, values.shape[1]), np.float32), *(x for x, _, _ in parts)]),
        time=np.concatenate([np.zeros(0), *(t for _, t, _ in parts)]),
        rows=np.concatenate([np.zeros(0, np.int64), *(rows for _, _, rows in parts)]),
        starts=(np.cumsum(lengths) - lengths).astype(np.int64),
    )


def nearest(grid: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Index of the time nearest to each grid point, the earlier of two."""
    return np.searchsorted((time[1:] + time[:-1]) / 2, grid, side="left")


def fill(
    grid: np.ndarray, time: np.ndarray, values: np.ndarray, max_gap: float, method: str, missing: str
) -> np.ndarray:
    """One channel on the grid, NaN where it has no value nearby; (n,) -> (t,)."""
    present = np.flatnonzero(np.isfinite(values))
    if present.size == 0:
        return np.full(len(grid), np.nan)
    t, x = time[present], values[present]
    result = np.interp(grid, t, x) if method == "linear" else x[nearest(grid, t)]
    if present.size == len(values):
        return result
    after = np.searchsorted(t, grid, side="left")
    exact = t[np.minimum(after, len(t) - 1)] == grid
    between = (after > 0) & (after < len(t))
    before, after = np.maximum(after - 1, 0), np.minimum(after, len(t) - 1)
    near = t[after] - t[before] <= max_gap if missing == "interpolate" else present[after] - present[before] == 1
    return np.where(exact | (between & near), result, np.nan)
