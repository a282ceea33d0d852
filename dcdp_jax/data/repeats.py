"""Resolves rows that have the time stamp of the row before.

`Repeats` takes rows in chunks of any size, and the results do not depend on the chunks. `settle` applies it to a whole
recording.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dcdp_jax.errors import DataError

REPEATED = ("error", "spread", "drop", "mean")
# With `repeated='error'`, this number of rows plus this share of the rows so far may have the stamp of the row before.
FEW_REPEATED, SHARE_REPEATED = 5, 0.05


class Rows(NamedTuple):
    """Rows with strictly rising times."""

    time: np.ndarray  # (n,) seconds, strictly rising
    values: np.ndarray  # (n, c), NaN where missing
    rows: np.ndarray  # (n,) int64, number of the input row that each came from, counted from the first pushed row

    def select(self, chosen: np.ndarray | slice) -> "Rows":
        """Returns the rows of a mask or slice."""
        return Rows(*(part[chosen] for part in self))


def join(parts: Sequence[Rows]) -> Rows:
    """Returns the rows of all parts, at least one, in order."""
    return Rows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


class Repeats:
    """Resolves rows that have the time stamp of the row before."""

    def __init__(self, how: str, max_gap: float) -> None:
        """Starts with no rows.

        Args:
          how: `error`: they are left out, and more than a few raise an error. `drop`: they are left out. `mean`: rows
            with one stamp become one row, the mean of their values. `spread`: they are spread evenly until the next
            stamp. If that is more than `max_gap` away, and at the end, they are spread over as long a time as passed
            between the previous stamp and theirs.
          max_gap: seconds.
        """
        self.how, self.max_gap = how, max_gap
        self.repeated = 0  # rows with the stamp of the row before
        self._received = 0
        self._last = -np.inf
        self._interval = np.nan  # between the last two stamps
        self._held: Rows | None = None  # rows of the last stamp, of which more may follow

    def push(self, time: np.ndarray, values: np.ndarray) -> Rows:
        """Takes rows, (n,) seconds and (n, c) values, and returns the resolved rows.

        With `mean` and `spread`, the rows of the last stamp are held back until the next stamp.

        Raises:
          DataError: time goes back or is no number, or too many stamps repeat where that is an error.
        """
        if not np.isfinite(time).all():
            raise DataError("a sample has no time")
        passed = np.diff(time, prepend=self._last if self._received else time[:1] - 1)
        if (passed < 0).any():
            at = int(np.argmax(passed < 0))
            raise DataError(f"time goes back by {-passed[at]:g} s; samples must come in order")
        again = passed == 0
        self.judge(time)
        came = Rows(time, values, self._received + np.arange(len(time)))
        self._received += len(time)
        self.repeated += int(again.sum())
        if len(time):
            self._last = float(time[-1])
        if self.how in ("error", "drop"):
            return came.select(~again)
        if self._held is not None:
            came = join([self._held, came])
        first = int(np.searchsorted(came.time, came.time[-1])) if len(came.time) else 0
        self._held = came.select(slice(first, None))
        return self._settle(came.select(slice(first)), self._last)

    def judge(self, time: np.ndarray, whole: int | None = None) -> None:
        """Raises DataError if `how` is `error` and, with the next rows, too many rows repeat a stamp.

        The message counts the repetitions so far, or with `whole`, which is their number in the whole recording, those.
        """
        if self.how != "error":
            return
        counts = self.repeated + np.cumsum(np.diff(time, prepend=self._last) == 0)
        total = self._received + 1 + np.arange(len(time))
        many = counts > FEW_REPEATED + SHARE_REPEATED * total
        if many.any():
            at = int(np.argmax(many))
            count, rows = (int(counts[at]), int(total[at])) if whole is None else (whole, len(time))
            raise DataError(
                f"{count:,} of {rows:,} rows ({count / rows:.0%}) have the time of the row before, as where stamps are "
                "cut to whole seconds; set data.table.repeated to 'spread' (evenly until the next stamp), 'mean' or "
                "'drop'"
            )

    def finish(self) -> Rows | None:
        """Returns the rows that were held back, or None."""
        held, self._held = self._held, None
        return None if held is None or not len(held.time) else self._settle(held, np.inf)

    def _settle(self, rows: Rows, following: float) -> Rows:
        """Resolves whole groups of rows with one stamp; `following` is the stamp after the last group."""
        stamps, first, counts = np.unique(rows.time, return_index=True, return_counts=True)
        if not len(stamps):
            return rows
        if self.how == "mean":
            there = np.isfinite(rows.values)
            sums = np.add.reduceat(np.where(there, rows.values, 0).astype(np.float64), first)
            known = np.add.reduceat(there.astype(np.float64), first)
            values = sums / np.where(known > 0, known, np.nan)
            return Rows(stamps, values.astype(rows.values.dtype), rows.rows[first])
        intervals = np.diff(stamps, append=following)
        before = np.concatenate([[self._interval], intervals[:-1]])
        for i in np.flatnonzero(intervals > self.max_gap):  # in order, because each interval is the one before the next
            if intervals[i] > 1.5 * before[i] or np.isinf(intervals[i]):
                intervals[i] = before[i]
            if i + 1 < len(before):
                before[i + 1] = intervals[i]
        if np.isnan(intervals).any() and counts[np.isnan(intervals)].max() > 1:
            raise DataError("data.table.repeated='spread': all rows have the same time")
        self._interval = float(intervals[-1])
        within = np.arange(len(rows.time)) - np.repeat(first, counts)
        step = np.nan_to_num(np.repeat(intervals / counts, counts))
        return Rows(np.repeat(stamps, counts) + within * step, rows.values, rows.rows)


def settle(time: np.ndarray, values: np.ndarray, how: str, max_gap: float) -> tuple[Rows, int]:
    """Applies `Repeats` to a whole recording; returns the rows and how many repeated the stamp before."""
    repeats = Repeats(how, max_gap)
    repeats.judge(time, int(np.count_nonzero(np.diff(time) == 0)))
    parts = [repeats.push(time, values), repeats.finish()]
    return join([part for part in parts if part is not None]), repeats.repeated
