"""Smooths predictions over the last few windows, by their mean or by majority, and rejects those of low confidence."""

from collections import deque

import numpy as np

from dcdp_jax.errors import ConfigError
from dcdp_jax.rejection import SMALLEST, Rejection, scale_probabilities
from dcdp_jax.serve.events import UNKNOWN

METHODS = ("mean", "majority")


class Smoother:
    """Smoother over the last m probability vectors of a contiguous stretch.

    `mean`: their mean. `majority`: for each class, the share of the vectors in which it is the most probable; if
    several classes have the largest share, the most recent of them is predicted.

    With a rejection, the probabilities are scaled first, and the prediction is `UNKNOWN` if the mean margin of the same
    vectors, or without smoothing that of the window, is below 0. The margin is the confidence minus its threshold, or
    for a window with a distance, log(largest distance that is not unknown / its distance).
    """

    def __init__(self, method: str = "", over: int = 1, rejection: Rejection | None = None) -> None:
        """Starts without vectors; raises ConfigError for an unknown method, or if `over` is not positive."""
        if method and method not in METHODS:
            raise ConfigError(f"smoothing={method!r} is not one of {', '.join(METHODS)}")
        if over < 1:
            raise ConfigError(f"smoothing over {over} answers, expected 1 at least")
        self.method, self.rejection = method, rejection
        self._last: deque[np.ndarray] = deque(maxlen=over if method else 1)
        self._margins: deque[float] = deque(maxlen=self._last.maxlen)

    def reset(self) -> None:
        """Forgets all vectors, as at a gap."""
        self._last.clear()
        self._margins.clear()

    def __call__(self, probabilities: np.ndarray, distance: float = np.nan) -> tuple[int, np.ndarray]:
        """Adds the probabilities (k,) of the next window, and returns its class, or `UNKNOWN`, and the smoothed ones.

        The distance is that to the training windows, see `dcdp_jax.density`; with NaN the probability decides on
        `UNKNOWN`. If a probability is NaN, the class is -1 and the probabilities are returned unchanged.
        """
        if np.isnan(probabilities).any():
            return -1, probabilities
        if self.rejection:
            probabilities = scale_probabilities(probabilities, self.rejection.temperature)
            self._margins.append(margin(probabilities, distance, self.rejection))
        self._last.append(probabilities)
        label, smooth = self._smooth()
        return (UNKNOWN if self._margins and np.mean(self._margins) < 0 else label), smooth

    def _smooth(self) -> tuple[int, np.ndarray]:
        if self.method != "majority":
            mean = np.mean(self._last, axis=0)
            return int(mean.argmax()), mean
        said = [int(p.argmax()) for p in self._last]
        shares = np.bincount(said, minlength=len(self._last[-1])) / len(said)
        most = max(reversed(said), key=lambda label: shares[label])
        return most, shares


def margin(probabilities: np.ndarray, distance: float, rejection: Rejection) -> float:
    """Returns the margin of a window with scaled probabilities (k,), see `Smoother`; below 0 it is unknown."""
    if np.isnan(distance) or rejection.distance is None:
        return float(probabilities.max() - rejection.threshold)
    return float(np.log(max(rejection.distance, SMALLEST)) - np.log(max(distance, SMALLEST)))


def parse_smoothing(text: str) -> tuple[str, int]:
    """Parses 'mean:5' as ('mean', 5) and '' as no smoothing; raises ConfigError for anything else.

    >>> parse_smoothing("majority:3")
    ('majority', 3)
    """
    method, _, over = text.partition(":")
    if text and not (method in METHODS and over.isdecimal() and int(over) > 0):
        raise ConfigError(f"--smoothing={text}: expected mean:N or majority:N, N the number of windows")
    return method, int(over or 1)
