"""Resamples rows with irregular time stamps and missing values to evenly spaced samples.

`Repeats` resolves rows with the same time stamp, and `EvenClock` computes the samples. Both take rows in chunks of any
size, and the results do not depend on the chunks. `settle` and `resample` apply them to a whole recording.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dcdp_jax.errors import DataError

METHODS = ("linear", "nearest")
MISSING = ("interpolate", "split", "error")
REPEATED = ("error", "spread", "drop", "mean")
# With `repeated='error'`, this number of rows plus this share of the rows so far may have the stamp of the row before.
FEW_REPEATED, SHARE_REPEATED = 5, 0.05
# Fraction of a sample by which a row may be early or late and count as on time, because stamps are rounded.
ON_TIME = 1e-4
MOST_PER_ROW = 10_000  # largest number of samples between two rows; more indicates a wrong unit of time


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


class Even(NamedTuple):
    """Evenly spaced samples."""

    values: np.ndarray  # (t, c) float32, NaN where a channel has no value nearby
    time: np.ndarray  # (t,) seconds
    rows: np.ndarray  # (t,) int64, number of the row nearest in time to each sample, the earlier of two equally near
    starts: np.ndarray  # (s,) int64 first sample of each contiguous stretch


class Repeats:
    """Resolves rows that have the time stamp of the row before."""

    def __init__(self, how: str, max_gap: float) -> None:
        """Starts with no rows.

        Args:
          how: `error`: they are left out, and more than a few raise an error. `drop`: they are left out. `mean`: rows
            with one stamp become one row, the mean of their values. `spread`: they are spread evenly until the next
            stamp. If that is more than `max_gap` away, and at the end, they are spread over as long a time as passed
            between the previous stamp and theirs. The first stamp of a stretch may have fewer rows than the next one,
            and the last one fewer than the one before, because a recording begins and ends within a second. Such rows
            are spread at the neighbour's intervals: the first rows until the next stamp, the last ones from their own.
          max_gap: seconds.
        """
        self.how, self.max_gap = how, max_gap
        self.repeated = 0  # rows with the stamp of the row before
        self._received = 0
        self._last = -np.inf
        # Of the last stamp whose rows were spread: seconds until the next, seconds between rows, and whether it ended a
        # stretch.
        self._interval, self._step, self._ended = np.nan, np.nan, True
        self._held: Rows | None = None  # rows that depend on later ones, as those of the last stamp

    def push(self, time: np.ndarray, values: np.ndarray) -> Rows:
        """Takes rows, (n,) seconds and (n, c) values, and returns the resolved rows.

        With `mean` and `spread`, the rows of the last stamp are held back until the next stamp, and with `spread` those
        of the first stamp of a stretch until the one after the next.

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
        return self._settle(came, ended=False)

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
                "cut to whole seconds or are those of arrival; name the sensor's own clock if there is one, or set "
                "data.table.repeated to 'spread' (evenly until the next stamp), 'mean' or 'drop'"
            )

    def finish(self) -> Rows | None:
        """Returns the rows that were held back, or None."""
        held, self._held = self._held, None
        return None if held is None else self._settle(held, ended=True)

    def reset(self) -> None:
        """Drops the rows that were held back; the next row begins another stretch."""
        self._held, self._ended = None, True

    def _settle(self, rows: Rows, ended: bool) -> Rows:
        """Resolves groups of rows with one stamp: all if they have ended, else those that no later row can change."""
        stamps, first, counts = np.unique(rows.time, return_index=True, return_counts=True)
        if not len(stamps):
            return rows
        if self.how == "spread":
            time, ready = self._spread(stamps, counts, ended)
        else:
            time, ready = stamps, len(stamps) if ended else len(stamps) - 1
        end = int(np.append(first, len(rows.time))[ready])
        self._held, rows = rows.select(slice(end, None)), rows.select(slice(end))
        if self.how == "spread":
            return rows._replace(time=time[:end])
        there = np.isfinite(rows.values)
        sums = np.add.reduceat(np.where(there, rows.values, 0).astype(np.float64), first[:ready])
        known = np.add.reduceat(there.astype(np.float64), first[:ready])
        values = sums / np.where(known > 0, known, np.nan)
        return Rows(time[:ready], values.astype(rows.values.dtype), rows.rows[first[:ready]])

    def _spread(self, stamps: np.ndarray, counts: np.ndarray, ended: bool) -> tuple[np.ndarray, int]:
        """Returns the times of the rows of groups, and how many of these no later row can change."""
        intervals = np.diff(stamps, append=np.inf)
        before = np.concatenate([[self._interval], intervals[:-1]])
        if np.isnan(self._interval) and len(stamps) > 1:
            before[0] = intervals[1]
        ends = np.full(len(stamps), False)
        for i in np.flatnonzero(intervals > self.max_gap):  # in order, because each interval is the one before the next
            if intervals[i] > 1.5 * before[i] or np.isinf(intervals[i]):
                intervals[i], ends[i] = before[i], True
            if i + 1 < len(before):
                before[i + 1] = intervals[i]
        begins = np.append(self._ended, ends[:-1])
        # The last group may get more rows, on which the group before depends if it is the first of a stretch.
        ready = len(stamps) if ended else len(stamps) - 1 - int(begins[-2:-1].any())
        if (np.isnan(intervals) & (counts > 1))[:ready].any():
            raise DataError("data.table.repeated='spread': all rows have the same time")
        step = intervals / counts
        previous, following = np.append(self._step, step[:-1]), np.append(step[1:], np.inf)
        if ready:
            self._interval, self._step, self._ended = intervals[ready - 1], step[ready - 1], ends[ready - 1]
        late = begins & ~ends & (following < step) & (counts < np.append(counts[1:], 0))
        step = np.where(ends & ~begins, np.minimum(step, previous), np.where(late, following, step))
        start = np.where(late, stamps + intervals - counts * step, stamps)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(start, counts) + within * np.repeat(np.nan_to_num(step), counts), ready


def settle(time: np.ndarray, values: np.ndarray, how: str, max_gap: float) -> tuple[Rows, int]:
    """Applies `Repeats` to a whole recording; returns the rows and how many repeated the stamp before."""
    repeats = Repeats(how, max_gap)
    repeats.judge(time, int(np.count_nonzero(np.diff(time) == 0)))
    parts = [repeats.push(time, values), repeats.finish()]
    return join([part for part in parts if part is not None]), repeats.repeated


class EvenClock:
    """Computes samples 1 / rate seconds apart, from the first row of every stretch on.

    Two rows that are more than max_gap apart end one stretch and begin another. A sample is returned as soon as no
    later row can change it. If the first or last value of a channel is at most max_gap from the start or end of the
    stretch, the samples beyond it are left out, because its sensor started later or stopped earlier than the others.
    """

    def __init__(
        self,
        rate: float,
        max_gap: float,
        method: str = "linear",
        missing: str = "interpolate",
        keep_rows: bool = False,
        absent: tuple[int, ...] = (),
    ) -> None:
        """Starts with nothing.

        Args:
          rate: samples per second.
          max_gap: seconds.
          method: `linear`: between the values before and after. `nearest`: the nearer one, the earlier of two.
          missing: `interpolate`: samples between two values are computed from these even if values between them are
            missing, if the two are at most max_gap apart. Otherwise samples next to a missing value are missing.
          keep_rows: whether every row is a sample, whatever the rate.
          absent: positions of channels that never have a value, for which no sample needs to wait.
        """
        self.absent = absent
        self.rate, self.max_gap, self.method, self.missing = rate, max_gap, method, missing
        self.keep_rows = keep_rows
        self.reset()

    def reset(self) -> None:
        """Drops the current stretch; the next row begins another."""
        self._rows: Rows | None = None  # rows that later samples may need; the last row is always among them
        self._first = 0.0  # time of the first row
        self._reached = -1  # number of the last sample at or before the last row
        self._pending = np.zeros(0)  # times of the samples up to the last row that are not returned yet
        self._begin: float | None = None  # time from which samples are returned; None if it is not known yet
        self._is_new = True  # whether no sample was returned yet

    def push(self, rows: Rows) -> list[Even]:
        """Takes the next rows and returns the samples that no later row can change, in order."""
        if not len(rows.time):
            return []
        last = self._rows.time[-1:] if self._rows is not None else rows.time[:1]
        breaks = np.flatnonzero(np.diff(rows.time, prepend=last) > self.max_gap).tolist()
        pieces: list[Even] = []
        for number, (first, end) in enumerate(itertools.pairwise([0, *breaks, len(rows.time)])):
            if number:
                pieces += self.finish()
            if first < end:
                self._add(rows.select(slice(first, end)))
                pieces += self._emit()
        return pieces

    def finish(self) -> list[Even]:
        """Ends the stretch and returns its remaining samples."""
        pieces = self._emit(ended=True) if self._rows is not None else []
        self.reset()
        return pieces

    def _add(self, rows: Rows) -> None:
        """Adds rows to the current stretch, and the times of the samples up to the last of them to `_pending`."""
        if self._rows is None:
            self._first, self._rows = float(rows.time[0]), rows
        else:
            self._rows = join([self._rows, rows])
        if self.keep_rows:
            self._pending = np.append(self._pending, rows.time)
            return
        # The number of the last sample at or before each row.
        reached = np.floor((rows.time - self._first) * self.rate + ON_TIME)
        between = np.diff(reached, prepend=self._reached)
        if between.max() > MOST_PER_ROW:
            raise DataError(
                f"{between.max():,.0f} samples would lie between two rows; are data.table.rate={self.rate:g}, "
                f"time_unit and max_gap={self.max_gap:g} right?"
            )
        numbers = np.arange(self._reached + 1, int(reached[-1]) + 1)
        # A sample that is up to `ON_TIME` after its row has the time of the row.
        times = np.minimum(self._first + numbers / self.rate, rows.time[np.searchsorted(reached, numbers)])
        self._pending = np.append(self._pending, times)
        self._reached = int(reached[-1])

    def _emit(self, ended: bool = False) -> list[Even]:
        """Returns the pending samples up to the first that a later row can change, as one piece or none.

        Samples before `_begin` are left out, and so are those that still wait for a value when the stretch has ended.
        """
        assert self._rows is not None
        t, x, rows = self._rows
        if self._begin is None:
            self._begin = self._find_begin(ended)
            if self._begin is None:
                return []
            self._pending = self._pending[self._pending >= self._begin]
        times = self._pending
        if not len(times):
            return []
        values, certain = np.empty((len(times), x.shape[1]), np.float32), np.full(len(times), True)
        for c in range(x.shape[1]):
            values[:, c], known = fill(times, t, x[:, c], self.max_gap, self.method, self.missing)
            certain &= known
        ready = len(times) if certain.all() else int(np.argmin(certain))
        self._pending = times[ready:]
        self._forget(times[ready] if ready < len(times) else t[-1])
        if not ready:
            return []
        starts = np.zeros(1 if self._is_new else 0, np.int64)
        self._is_new = False
        return [Even(values[:ready], times[:ready], rows[nearest(times[:ready], t)], starts)]

    def _find_begin(self, ended: bool) -> float | None:
        """Returns the time from which all channels have values, except late ones; None if it is not known yet."""
        assert self._rows is not None
        t, x, _ = self._rows
        there = np.isfinite(np.delete(x, self.absent, axis=1))
        come = there.any(axis=0)
        if not ended and not come.all() and t[-1] - t[0] <= self.max_gap:
            return None
        first = t[np.argmax(there, axis=0)[come]]
        return float(first[first - t[0] <= self.max_gap].max(initial=t[0]))

    def _forget(self, time: float) -> None:
        """Drops the rows that no sample from a time on needs."""
        assert self._rows is not None
        t, x, _ = self._rows
        needed = max(int(np.searchsorted(t, time, side="right")) - 1, 0)
        before = np.isfinite(x[: needed + 1])
        last = needed - np.argmax(before[::-1], axis=0)  # of each channel, the last value until then
        useful = before.any(axis=0) & (time - t[last] <= self.max_gap)
        self._rows = self._rows.select(slice(int(last[useful].min(initial=needed)), None))


def resample(time: np.ndarray, values: np.ndarray, *, partial: bool = False, **clock: Any) -> Even:
    """Resamples rows to a grid of 1 / rate seconds, from the first row of every stretch to its last.

    Args:
      time: (n,) seconds, strictly rising.
      values: (n, c), NaN where missing.
      partial: whether to keep samples that lack a channel, which is NaN. Otherwise they are left out, and the stretch
        is divided there.
      **clock: arguments of `EvenClock`.

    Returns:
      `Even`, which is empty if no sample has all channels.

    Raises:
      DataError: two rows are so far apart that the units cannot be right.
    """
    even_clock = EvenClock(**clock)
    pieces = even_clock.push(Rows(time, values, np.arange(len(time)))) + even_clock.finish()
    none = Even(np.zeros((0, values.shape[1]), np.float32), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64))
    offsets = np.cumsum([0, 0] + [len(piece.time) for piece in pieces])
    moved = [piece._replace(starts=piece.starts + at) for piece, at in zip([none, *pieces], offsets, strict=False)]
    even = Even(*(np.concatenate(part) for part in zip(*moved, strict=True)))
    return even if partial else complete(even)


def complete(even: Even) -> Even:
    """Returns the samples that have all channels. Stretches are divided where samples were left out."""
    kept = np.flatnonzero(np.isfinite(even.values).all(axis=1))
    begins = (np.diff(kept, prepend=-2) > 1) | np.isin(kept, even.starts)
    return Even(even.values[kept], even.time[kept], even.rows[kept], np.flatnonzero(begins))


def nearest(grid: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Returns the index of the time nearest to each grid point, the earlier of two."""
    return np.searchsorted((time[1:] + time[:-1]) / 2, grid, side="left")


def fill(
    grid: np.ndarray, time: np.ndarray, values: np.ndarray, max_gap: float, method: str, missing: str
) -> tuple[np.ndarray, np.ndarray]:
    """Resamples one channel, (n,) values at (n,) seconds, to a grid of (t,) seconds; see `EvenClock`.

    Returns:
      The (t,) values, NaN without a value nearby, and a (t,) mask of those that no later row can change.
    """
    present = np.flatnonzero(np.isfinite(values))
    if present.size == 0:
        return np.full(len(grid), np.nan), np.full(len(grid), True)
    t, x = time[present], values[present]
    result = np.interp(grid, t, x) if method == "linear" else x[nearest(grid, t)]
    after = np.searchsorted(t, grid, side="left")
    follows = after < len(t)
    before, after = np.maximum(after - 1, 0), np.minimum(after, len(t) - 1)
    exact = t[after] == grid
    between = (t[before] < grid) & follows
    near = t[after] - t[before] <= max_gap if missing == "interpolate" else present[after] - present[before] == 1
    # A later value can determine a sample only together with an earlier value that is not too long ago.
    waits = ~follows & ~exact & (t[-1] < grid) & (time[-1] - t[-1] <= max_gap)
    if missing != "interpolate":
        waits &= present[-1] == len(values) - 1
    return np.where(exact | (between & near), result, np.nan), ~waits
