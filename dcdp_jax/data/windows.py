"""Windows as an index into the samples: none crosses a gap or leaves its part, and overlap costs no memory.

Four label rules. With `mode`, a window never crosses a label change, which is what
HAPT's publishers did: laying windows anew from each label change gives exactly their 10,929 windows of 128 samples.
"""

from typing import NamedTuple

import numpy as np

from dcdp_jax.data.recording import UNLABELLED
from dcdp_jax.errors import ConfigError

LABEL_RULES = ("mode", "last", "drop_mixed", "majority")


class WindowIndex(NamedTuple):
    """Where n windows lie.

    Attributes:
      start: (n,) int64 first sample.
      label: (n,) int32 class index.
    """

    start: np.ndarray
    label: np.ndarray


def window_starts(stretches: np.ndarray, window: int, step: int) -> np.ndarray:
    """First samples of all windows: floor((length - window) / step) + 1 in each stretch that is long enough.

    Args:
      stretches: (s, 2) int64 first sample and the one after the last, of contiguous samples.
      window: samples per window.
      step: samples from one window to the next.

    Returns:
      (n,) int64, in the order of the stretches.

    >>> window_starts(np.array([[0, 10], [10, 13], [20, 24]]), window=4, step=3).tolist()
    [0, 3, 6, 20]
    """
    lengths = stretches[:, 1] - stretches[:, 0]
    counts = np.maximum((lengths - window) // step + 1, 0)
    first_of_stretch = np.cumsum(counts) - counts
    within = np.arange(counts.sum(), dtype=np.int64) - np.repeat(first_of_stretch, counts)
    return np.repeat(stretches[:, 0], counts) + within * step


def cut_at_label_changes(labels: np.ndarray, stretches: np.ndarray) -> np.ndarray:
    """Divides stretches where the label changes.

    Args:
      labels: (t,) one per sample.
      stretches: (s, 2) ascending and disjoint.

    Returns:
      (s', 2) stretches of one label each, that cover the same samples.

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
    """Most frequent label of every window, the smallest of several.

    Counts come from one running sum per label, so that memory grows with samples plus windows, not their product.

    Args:
      labels: (t,) one per sample.
      starts: (n,) first sample of each window.
      window: samples per window.

    Returns:
      (n,) int32.

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
    """All labelled windows inside the stretches.

    Args:
      labels: (t,) class index per sample, or `UNLABELLED`.
      stretches: (s, 2) int64, ascending and disjoint: what is cut into windows; see `window_starts`.
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
        raise ConfigError(f"data.label_rule={label_rule!r} is none of {', '.join(LABEL_RULES)}")
    if label_rule == "mode":
        stretches = cut_at_label_changes(labels, stretches)
    start = window_starts(stretches, window, step)
    label = majority_label(labels, start, window) if label_rule == "majority" else labels[start + window - 1]
    if label_rule == "drop_mixed":
        run = np.concatenate([[0], np.cumsum(np.diff(labels) != 0)])
        label = np.where(run[start] == run[start + window - 1], label, UNLABELLED)
    kept = label != UNLABELLED
    return WindowIndex(start[kept], label[kept].astype(np.int32))
