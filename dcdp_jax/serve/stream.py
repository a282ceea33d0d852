"""Predicts samples as they arrive: one prediction per step, the same as on the whole recording."""

import itertools
from collections.abc import Sequence

import numpy as np

from dcdp_jax.data.resample import Even, EvenClock, Repeats
from dcdp_jax.data.views import Viewer, make_view
from dcdp_jax.errors import DataError
from dcdp_jax.serve.adaptation import AdaptingModel
from dcdp_jax.serve.events import Event
from dcdp_jax.serve.inputs import is_gap
from dcdp_jax.serve.model import Prediction, TrainedModel, predict
from dcdp_jax.serve.predict import missing_branches
from dcdp_jax.serve.smoothing import Smoother


class Recognizer:
    """Predictor of windows from samples in portions of any size.

    The last samples are in a ring buffer as long as a window, which is predicted after every `step` new samples.
    """

    def __init__(
        self,
        model: TrainedModel,
        *,
        smoothing: tuple[str, int] = ("", 1),
        max_gap: float = 1.0,
        method: str = "linear",
        missing: str = "split",
        repeated: str = "drop",
        keep_rows: bool = False,
        absent: tuple[int, ...] = (),
    ) -> None:
        """Compiles the model, so that the first prediction is as fast as the others.

        Args:
          model: from `load_model`.
          smoothing: method and number of windows, see `Smoother`.
          max_gap: largest number of seconds between two samples with times; a longer gap divides the stream.
          method: of resampling samples with times, see `EvenClock`.
          missing: treatment of missing values among samples with times, see `EvenClock`.
          repeated: treatment of samples that have the time of the one before, see `Repeats`.
          keep_rows: whether samples with times are evenly spaced already, see `EvenClock`.
          absent: positions of channels that never have a value among samples with times.

        Raises:
          ConfigError: the smoothing cannot be used.
        """
        self.model, self.card = model, model.card
        self._smoother = Smoother(*smoothing, model.rejection)
        self._repeats = Repeats(repeated, max_gap)
        self._clock = EvenClock(self.card.input_rate, max_gap, method, missing, keep_rows, absent)
        self._received = 0
        self._view = make_view(self.card.inputs, self.card.view)
        self._stretch = 0
        self._samples = 0  # number of samples of the stretch, before decimation
        self._ring = np.zeros((self.card.window, len(self.card.channels)), np.float32)
        self._times = np.zeros(self.card.window)
        self._restart()
        self._adapting = AdaptingModel(model) if model.adapt else None
        self._predict_window(np.full_like(self._ring, np.nan) if self._adapting else self._ring)  # NaN adapts nothing

    def push(self, samples: np.ndarray, times: np.ndarray | None = None) -> list[Event]:
        """Takes the next samples, and returns the predictions that have become due, in order.

        A missing value is NaN; windows are then predicted by the branches that have all of their channels, see
        `model.predict`. Samples without any value are a gap.

        Args:
          samples: (n, c) in the order and the units of the card's `inputs`; n may be 0 or any number.
          times: (n,) seconds of each sample; given in every call or in none. With times, samples of any rate are
            resampled to that of the model, and gaps are found. Without, samples are 1 / `card.input_rate` apart.

        Raises:
          DataError: samples of another shape, or times that go back.
        """
        samples = np.asarray(samples, np.float32)
        if samples.ndim != 2 or samples.shape[1] != len(self.card.inputs):
            raise DataError(f"samples of shape {samples.shape}, expected (n, {len(self.card.inputs)})")
        if times is None:
            counted = (self._received + np.arange(len(samples))) / self.card.input_rate
            self._received += len(samples)
            return self._divide(samples, counted)
        times = np.asarray(times, np.float64)
        if times.shape != samples.shape[:1]:
            raise DataError(f"times of shape {times.shape}, expected ({len(samples)},)")
        return self._add(self._clock.push(self._repeats.push(times, samples)))

    def finish(self) -> list[Event]:
        """Ends the stream; returns the predictions that waited for later samples."""
        held = self._repeats.finish()
        pieces = self._clock.push(held) if held is not None else []
        return self._add(pieces + self._clock.finish())

    def _add(self, pieces: Sequence[Even]) -> list[Event]:
        events = []
        for piece in pieces:
            if len(piece.starts):
                self._restart()
            events += self._divide(piece.values, piece.time)
        return events

    def gap(self) -> None:
        """Starts a new stretch, because samples are missing; no window crosses it.

        Predictions that waited for later samples are dropped.
        """
        self._repeats.reset()
        self._clock.reset()
        self._restart()

    def _restart(self) -> None:
        if self._samples:
            self._stretch += 1
        self._samples = 0
        self._kept = 0  # number of samples of the stretch, after decimation
        self._due = self.card.window
        self._viewer = Viewer(self._view, self.card.rate)
        self._smoother.reset()

    def _divide(self, samples: np.ndarray, times: np.ndarray) -> list[Event]:
        """Divides samples at those without any value, and predicts the parts between them."""
        events = []
        gap = is_gap(samples, self.card.view)
        edges = [0, *(np.flatnonzero(np.diff(gap)) + 1).tolist(), len(samples)]
        for a, b in itertools.pairwise(edges):
            if a < b and gap[a]:
                self._restart()
            elif a < b:
                events += self._take(samples[a:b], times[a:b])
        return events

    def _take(self, samples: np.ndarray, times: np.ndarray) -> list[Event]:
        """Adds contiguous samples to the ring, and predicts whenever a window is due."""
        kept = (self._samples + np.arange(len(samples))) % self.card.decimate == 0
        self._samples += len(samples)
        samples, times = self._viewer(samples[kept]), times[kept]
        window, events = self.card.window, []
        while len(samples):
            part = min(len(samples), self._due - self._kept)
            # If windows are farther apart than they are long, only the last samples will be read.
            places = (self._kept + np.arange(part))[-window:] % window
            self._ring[places], self._times[places] = samples[:part][-window:], times[:part][-window:]
            self._kept += part
            samples, times = samples[part:], times[part:]
            if self._kept == self._due:
                events.append(self._predict())
                self._due += self.card.step
        return events

    def _predict_window(self, window: np.ndarray) -> Prediction:
        """Predicts a window (t, c), without smoothing."""
        return self._adapting.predict(window[None]) if self._adapting else predict(self.model, window[None], batch=1)

    def _predict(self) -> Event:
        card, oldest = self.card, self._kept % self.card.window
        found = self._predict_window(np.roll(self._ring, -oldest, axis=0))
        label, smooth = self._smoother(found.probabilities[0], found.distances[0])
        return Event(
            start=float(self._times[oldest]),
            end=float(self._times[oldest - 1]) + 1 / card.rate,
            label=label,
            probabilities=smooth,
            missing=missing_branches(card, found.complete[0]),
            stretch=self._stretch,
        )
