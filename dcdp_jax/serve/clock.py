"""Samples with times, as they come, laid evenly: `dcdp_jax.data.resample` for a stream."""

from typing import NamedTuple

import numpy as np

from dcdp_jax.errors import DataError


class Piece(NamedTuple):
    """Evenly spaced samples without a gap between them.

    Attributes:
      time: (t,) seconds.
      values: (t, c) float32.
      begins: whether they begin a stretch, as the first ones and those after a gap do.
    """

    time: np.ndarray
    values: np.ndarray
    begins: bool


class EvenClock:
    """Lays samples 1 / rate seconds apart from the first of every stretch on, on lines between those that came."""

    def __init__(self, rate: float, max_gap: float) -> None:
        """Starts with nothing.

        Args:
          rate: samples per second.
          max_gap: seconds; two samples that are farther apart end one stretch and begin another.
        """
        self.rate, self.max_gap = rate, max_gap
        self.reset()

    def reset(self) -> None:
        """The next sample begins a stretch."""
        self._time: np.ndarray = np.zeros(0)
        self._values: np.ndarray = np.zeros((0, 0), np.float32)
        self._first = 0.0
        self._laid = 0

    def push(self, time: np.ndarray, values: np.ndarray) -> list[Piece]:
        """Takes what came and gives what can be laid; the last sample of a stretch may have to wait for another.

        Args:
          time: (n,) seconds, rising. A sample with the time of the one before is left out.
          values: (n, c), NaN where missing.

        Returns:
          Pieces in order.

        Raises:
          DataError: time goes back, or is no number.
        """
        if not np.isfinite(time).all():
            raise DataError("a sample has no time")
        passed = np.diff(np.append(self._time, time))
        if (passed < 0).any():
            at = int(np.argmin(passed))
            raise DataError(f"time goes back by {-passed[at]:g} s; samples must come in order")
        new = np.ones(len(time), bool)
        new[len(time) - len(passed) :] = passed > 0
        time, values = time[new], values[new]
        breaks = np.flatnonzero(np.diff(np.append(self._time, time)) > self.max_gap) + 1 - len(self._time)
        return [
            piece
            for t, x in zip(np.split(time, breaks), np.split(values, breaks), strict=True)
            if len(t) and (piece := self._lay(t, x)) is not None
        ]

    def _lay(self, time: np.ndarray, values: np.ndarray) -> Piece | None:
        if not len(self._time) or time[0] - self._time[-1] > self.max_gap:
            self._first, self._laid = float(time[0]), 0
        else:
            time, values = np.append(self._time, time), np.concatenate([self._values, values])
        self._time, self._values = time[-1:], values[-1:]
        end = int((time[-1] - self._first) * self.rate + 1e-6) + 1
        if end <= self._laid:
            return None
        grid = np.minimum(self._first + np.arange(self._laid, end) / self.rate, time[-1])
        laid = np.stack([np.interp(grid, time, column) for column in values.T], axis=1).astype(np.float32)
        begins, self._laid = self._laid == 0, end
        return Piece(grid, laid, begins)
