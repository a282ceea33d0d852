"""Predictions for windows, and consecutive windows of one class merged into segments."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dcdp_jax.evaluate.segments import PredictedWindow, Segment, merge_windows
from dcdp_jax.runs.model_card import ModelCard

UNKNOWN, UNKNOWN_NAME = -2, "unknown"


class Event(NamedTuple):
    """The prediction for one window."""

    start: float  # seconds, of its first sample
    end: float  # seconds, one sampling interval after its last sample
    # index of the class; `UNKNOWN` if the confidence is too low; -1 for no prediction, because sensors are missing
    label: int
    probabilities: np.ndarray  # (k,) after smoothing, if there is any; NaN for no prediction
    missing: tuple[str, ...]  # branches that lack a channel
    stretch: int  # number of the contiguous stretch that it lies in, from 0

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


def merge_events(events: Sequence[Event]) -> list[Segment]:
    """Merges consecutive windows of one class of a recording into disjoint segments, see `merge_windows`."""
    return merge_windows([PredictedWindow(e.start, e.end, e.label, e.confidence, e.stretch) for e in events])
