"""Windows as indices into the samples: no window crosses a gap or leaves its part, and overlap needs no memory.

The label rule `mode` cuts stretches at label changes first, as HAPT's publishers did: this gives exactly their 10,929
windows of 128 samples.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dcdp_jax.data.recording import UNLABELLED, Recording
from dcdp_jax.errors import ConfigError, DataError

LABEL_RULES = ("mode", "last", "drop_mixed", "majority")


class WindowIndex(NamedTuple):
    """Positions and labels of n windows."""

    start: np.ndarray  # (n,) int64 first sample
    label: np.ndarray  # (n,) int32 class index

    def select(self, chosen: np.ndarray) -> "WindowIndex":
        """Returns the windows of a mask, or of indices."""
        return WindowIndex(self.start[chosen], self.label[chosen])


def window_starts(stretches: np.ndarray, window: int, step: int) -> np.ndarray:
    """Returns the first samples of all windows: floor((length - window) / step) + 1 in each stretch of this length.

    Args:
      stretches: (s, 2) int64 first sample and the one after the last, of contiguous samples.
      window: samples per window.
      step: samples from one window to the next.

    >>> window_starts(np.array([[0, 10], [10, 13], [20, 24]]), window=4, step=3).tolist()
    [0, 3, 6, 20]
    """
    lengths = stretches[:, 1] - stretches[:, 0]
    counts = np.maximum((lengths - window) // step + 1, 0)
    first_of_stretch = np.cumsum(counts) - counts
    within = np.arange(counts.sum(), dtype=np.int64) - np.repeat(first_of_stretch, counts)
    return np.repeat(stretches[:, 0], counts) + within * step


def cut_at_label_changes(labels: np.ndarray, stretches: np.ndarray) -> np.ndarray:
    """Divides ascending and disjoint (s, 2) stretches where one of (t,) labels differs from that of the sample before.

    >>> cut_at_label_changes(np.array([0, 0, 1, 1, 1, 0]), np.array([[0, 4], [4, 6]])).tolist()
    [[0, 2], [2, 4], [4, 5], [5, 6]]
    """
    if len(stretches) == 0:
        return stretches
    changes = np.flatnonzero(np.diff(labels)) + 1
    owner = np.searchsorted(stretches[:, 0], changes, side="right") - 1
    inside = (owner >= 0) & (changes < stretches[owner, 1]) & (changes > stretches[owner, 0])
    changes, owner = changes[inside], owner[inside]
    starts = np.concatenate([stretches[:, 0], changes])
    order = np.argsort(starts, kind="stable")
    starts = starts[order]
    ends_of_stretch = stretches[np.concatenate([np.arange(len(stretches)), owner])[order], 1]
    return np.stack([starts, np.minimum(np.append(starts[1:], ends_of_stretch[-1]), ends_of_stretch)], axis=1)


def majority_label(labels: np.ndarray, starts: np.ndarray, window: int) -> np.ndarray:
    """Returns the most frequent label of every window, (n,) int32, the smallest of several.

    The labels are (t,), the first samples of the windows (n,). Counts come from one running sum per label, so that
    memory grows with samples plus windows, not their product.

    >>> majority_label(np.array([2, 0, 0, 2, 2, 2]), np.array([0, 2]), window=4).tolist()
    [0, 2]
    """
    best = np.full(len(starts), UNLABELLED, np.int32)
    most = np.zeros(len(starts), np.int32)
    running = np.zeros(len(labels) + 1, np.int32)
    for value in np.unique(labels):
        np.cumsum(labels == value, out=running[1:])
        count = running[starts + window] - running[starts]
        better = count > most
        best[better], most[better] = value, count[better]
    return best


def index_windows(
    labels: np.ndarray, stretches: np.ndarray, window: int, step: int, label_rule: str = "mode"
) -> WindowIndex:
    """Finds all labelled windows inside the stretches.

    Args:
      labels: (t,) class index per sample, or `UNLABELLED`.
      stretches: (s, 2) int64 stretches to cut into windows, ascending and disjoint; see `window_starts`.
      window: samples per window.
      step: samples from one window to the next.
      label_rule: `mode`: every stretch is cut at its label changes first, so that all samples of a window agree.
        `drop_mixed`: windows are laid over whole stretches and those with more than one label left out.
        `last`: they are laid over whole stretches and have their last sample's label.
        `majority`: likewise, and the most frequent label, see `majority_label`.
        Whatever the rule, windows whose label is `UNLABELLED` are left out.

    Returns:
      `WindowIndex`, empty where every stretch is shorter than a window.

    Raises:
      ConfigError: window or step is not positive, or the label rule is unknown.
    """
    if window < 1 or step < 1:
        raise ConfigError(f"data.window={window} and data.step={step} must be positive")
    if label_rule not in LABEL_RULES:
        raise ConfigError(f"data.label_rule={label_rule!r} is not one of {', '.join(LABEL_RULES)}")
    if label_rule == "mode":
        stretches = cut_at_label_changes(labels, stretches)
    start = window_starts(stretches, window, step)
    label = majority_label(labels, start, window) if label_rule == "majority" else labels[start + window - 1]
    if label_rule == "drop_mixed":
        run = np.concatenate([[0], np.cumsum(np.diff(labels) != 0)])
        label = np.where(run[start] == run[start + window - 1], label, UNLABELLED)
    kept = label != UNLABELLED
    return WindowIndex(start[kept], label[kept].astype(np.int32))


class Windows(NamedTuple):
    """n windows of t samples of c channels as arrays."""

    x: np.ndarray  # (n, t, c) float32 signals in the units of the recordings, not normalised
    labels: np.ndarray  # (n,) int32 class index
    subjects: np.ndarray  # (n,) int32 number of the subject


def make_windows(recordings: Sequence[Recording], *, window: int, step: int, label_rule: str = "mode") -> Windows:
    """Cuts recordings into labelled windows, for users who need only the data.

    Overlapping windows share samples: divide the recordings into training and test parts first, and cut each part.

    Args:
      recordings: recordings with the same channels, at least one.
      window: samples per window.
      step: samples from one window to the next.
      label_rule: how a window gets its label, see `index_windows`. Windows without a label are left out.

    Returns:
      `Windows`, in the order of the recordings. No window runs over a gap or from one recording into the next.

    Raises:
      ConfigError: window or step is not positive, or the label rule is unknown.
      DataError: there is no recording, or the channels differ.

    >>> from dcdp_jax.data import load_recordings
    >>> recordings = load_recordings("synthetic", options={"subjects": 3, "minutes": 1.0})
    >>> x, labels, subjects = make_windows(recordings, window=64, step=32)
    >>> x.shape[1:], len(x) == len(labels) == len(subjects), sorted(set(subjects.tolist()))
    ((64, 18), True, [1, 2, 3])
    """
    if len({r.channels for r in recordings}) != 1:
        raise DataError("make_windows needs recordings with the same channels, at least one")
    found = [index_windows(r.labels, r.stretches, window, step, label_rule) for r in recordings]
    counts = [len(index.label) for index in found]
    x = np.empty((sum(counts), window, len(recordings[0].channels)), np.float32)
    for r, index, end in zip(recordings, found, np.cumsum(counts).tolist(), strict=True):
        x[end - len(index.label) : end] = r.signals[index.start[:, None] + np.arange(window)]
    labels = np.concatenate([index.label for index in found])
    return Windows(x, labels, np.repeat(np.array([r.subject for r in recordings], np.int32), counts))
