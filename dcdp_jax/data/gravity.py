"""Separates gravity from accelerations with a low-pass filter."""

import functools

import numpy as np

from dcdp_jax.errors import ConfigError

GRAVITY_CUTOFF = 0.3  # Hz; body movement has little energy below it (Anguita et al. 2013, for UCI-HAR)
GRAVITY_ORDER = 3


@functools.cache
def gravity_filter(rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns second-order sections, and their steady state (sections, 2, 1) for a constant signal of 1.

    Raises:
      ConfigError: as `LowPass`.
    """
    from scipy import signal

    if rate <= 2 * GRAVITY_CUTOFF:
        raise ConfigError(
            f"data.view separates gravity at {GRAVITY_CUTOFF} Hz, for which {rate:g} samples a second are too few; "
            f"expected more than {2 * GRAVITY_CUTOFF}, as with a smaller data.decimate"
        )
    sections = signal.butter(GRAVITY_ORDER, GRAVITY_CUTOFF, fs=rate, output="sos")
    return sections, signal.sosfilt_zi(sections)[:, :, None]


class LowPass:
    """A causal Butterworth low-pass filter for gravity in one contiguous stretch, in steady state at its first sample.

    It is causal so that a device computes the same while it records, at the price of a delay of about a second.
    """

    def __init__(self, rate: float) -> None:
        """Makes the filter for signals with this number of samples per second.

        Raises:
          ConfigError: the rate is not above twice the filter's cutoff.
        """
        self._sections, self._steady = gravity_filter(rate)
        self._state: np.ndarray | None = None

    def __call__(self, signals: np.ndarray) -> np.ndarray:
        """Filters the next (t, c) accelerations to (t, c) float32; cutting a stretch into pieces changes nothing."""
        from scipy import signal

        if self._state is None:
            self._state = self._steady * signals[0]
        gravity, self._state = signal.sosfilt(self._sections, signals, axis=0, zi=self._state)
        return gravity.astype(np.float32)
