"""Predictions for windows, and consecutive windows of one class merged into segments."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dcdp_jax.runs.model_card import ModelCard

UNKNOWN, UNKNOWN_NAME = -2, "unknown"


class Event(NamedTuple):
    """The prediction for one window.

    Attributes:
      start: seconds, of its first sample.
      end: seconds, when its last sample has passed.
      label: index of the class, `UNKNOWN` where the confidence is too low, -1 where there is no answer because sensors
        are missing.
      probabilities: (k,) NaN where there is no answer; with smoothing they are the smoothed ones.
      missing: branches that lack a channel.
      stretch: number of the contiguous stretch that it lies in, from 0.
    """

    start: float
    end: float
    label: int
    probabilities: np.ndarray
    missing: tuple[str, ...]
    stretch: int

    @property
    def confidence(self) -> float:
        """Returns the probability of the most probable class; NaN where there is no prediction."""
        return float(self.probabilities.max())

    def class_name(self, card: ModelCard) -> str:
        """Returns the name of the predicted class; '' where there is no prediction."""
        return class_name(card, self.label)

    def as_json(self, card: ModelCard) -> dict[str, Any]:
        """Returns the event as JSON types, with null where there is no prediction."""
        answered = self.label != -1
        return {
            "start": round(self.start, 6),
            "end": round(self.end, 6),
            "class": self.class_name(card) or None,
            "confidence": round(self.confidence, 6) if answered else None,
            "missing": list(self.missing),
            "stretch": self.stretch,
            "probabilities": {
                name: round(float(p), 6) if answered else None
                for name, p in zip(card.class_names, self.probabilities, strict=True)
            },
        }


def class_name(card: ModelCard, label: int) -> str:
    """Returns the name of a class; 'unknown' for `UNKNOWN`, '' where there is no prediction."""
    return UNKNOWN_NAME if label == UNKNOWN else card.class_names[label] if label >= 0 else ""


class Segment(NamedTuple):
    """Consecutive windows of one class.

    Attributes:
      start: seconds.
      end: seconds.
      label: index of the class, or `UNKNOWN`.
      confidence: mean over the windows.
      windows: how many.
    """

    start: float
    end: float
    label: int
    confidence: float
    windows: int


def merge_events(events: Sequence[Event]) -> list[Segment]:
    """Merges consecutive windows of one class of a recording into disjoint segments.

    Where windows of two classes overlap, one segment ends and the next begins in the middle of what they share. No
    segment crosses a gap, time between windows, or a window without an answer.
    """
    runs: list[list[Event]] = []
    for event in events:
        before = runs[-1][-1] if runs else None
        if before and event.label == before.label and follows(event, before):
            runs[-1].append(event)
        else:
            runs.append([event])
    bounds = [[run[0].start, run[-1].end] for run in runs]
    for i, (one, other) in enumerate(itertools.pairwise(runs)):
        if follows(other[0], one[-1]):
            bounds[i][1] = bounds[i + 1][0] = (one[-1].end + other[0].start) / 2
    return [
        Segment(start, end, run[0].label, float(np.mean([event.confidence for event in run])), len(run))
        for (start, end), run in zip(bounds, runs, strict=True)
        if run[0].label != -1
    ]


def follows(event: Event, before: Event) -> bool:
    """Returns whether a window begins before another of the same contiguous stretch has ended, or just then."""
    return event.stretch == before.stretch and event.start <= before.end + 1e-6
