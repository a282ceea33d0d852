"""The index of windows over recordings: no window crosses a gap or leaves its interval, and overlap costs no memory."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dcdp_jax.data.recording import UNLABELLED, Recording
from dcdp_jax.errors import ConfigError

LABEL_RULES = ("mode",)


class Interval(NamedTuple):
    """Samples [start, stop) of the recording with this index."""

    recording: int
    start: int
    stop: int


class WindowIndex(NamedTuple):
    """Where n windows lie.

    Attributes:
      recording: (n,) index of the recording.
      start: (n,) first sample within it.
      label: (n,) class index.
    """

    recording: np.ndarray
    start: np.ndarray
    label: np.ndarray


def window_starts(stretches: Sequence[tuple[int, int]], window: int, step: int) -> np.ndarray:
    """First samples of all windows: floor((length - window) / step) + 1 of them in each stretch that is long enough.

    Args:
      stretches: (start, stop) of contiguous samples.
      window: samples per window.
      step: samples from one window to the next.

    Returns:
      (n,) int64.
    """
    starts = [np.arange(start, stop - window + 1, step, dtype=np.int64) for start, stop in stretches]
    return np.concatenate(starts) if starts else np.zeros(0, np.int64)


def mode_label(labels: np.ndarray) -> np.ndarray:
    """Most frequent label of every row, the smallest of several; (n, window) -> (n,)."""
    values = np.unique(labels)
    counts = np.stack([(labels == value).sum(axis=1) for value in values])
    return values[counts.argmax(axis=0)]


def index_windows(
    recordings: Sequence[Recording],
    intervals: Sequence[Interval],
    window: int,
    step: int,
    label_rule: str = "mode",
) -> WindowIndex:
    """All labelled windows inside the intervals, in their order.

    Args:
      recordings: the data.
      intervals: the part of it that is cut into windows.
      window: samples per window.
      step: samples from one window to the next.
      label_rule: `mode`, the most frequent label of the window's samples. Windows whose label is `UNLABELLED` are
        left out.

    Returns:
      `WindowIndex`, empty where every stretch is shorter than a window.

    Raises:
      ConfigError: window or step is not positive, or the label rule is unknown.
    """
    if window < 1 or step < 1:
        raise ConfigError(f"data.window={window} and data.step={step} must be positive")
    if label_rule not in LABEL_RULES:
        raise ConfigError(f"data.label_rule={label_rule!r} is none of {', '.join(LABEL_RULES)}")
    parts = []
    for number, start, stop in intervals:
        recording = recordings[number]
        bounds = np.append(recording.starts, len(recording.labels))
        stretches = [
            (max(int(a), start), min(int(b), stop))
            for a, b in zip(bounds[:-1], bounds[1:], strict=True)
            if b > start and a < stop
        ]
        starts = window_starts(stretches, window, step)
        if starts.size == 0:
            continue
        labels = mode_label(np.lib.stride_tricks.sliding_window_view(recording.labels, window)[starts])
        keep = labels != UNLABELLED
        parts.append((np.full(keep.sum(), number), starts[keep], labels[keep]))
    columns = zip(*parts, strict=True) if parts else ([], [], [])
    recording_column, start_column, label_column = (np.concatenate([np.zeros(0, np.int64), *c]) for c in columns)
    return WindowIndex(recording_column, start_column, label_column.astype(np.int32))
