"""Predicts the test part as continuous recordings, whatever the labels, and grades the segments."""

from collections.abc import Callable
from typing import Any

import numpy as np

from dcdp_jax.data.dataset import Dataset, Split
from dcdp_jax.data.windows import cut_at_label_changes, window_starts
from dcdp_jax.evaluate.segments import PredictedWindow, divide, grade_segments, merge_windows, true_segments


def grade_test_part(
    dataset: Dataset, step: int, probabilities_of: Callable[[Split], np.ndarray]
) -> dict[str, Any] | None:
    """Grades the segments that a model finds in the contiguous stretches of the test part.

    The windows of scores lie within one label each (`data.label_rule=mode`); those here follow each other every `step`
    samples from the beginning of a stretch, as in predict and stream. `probabilities_of` returns (n, k) class
    probabilities of windows.

    Returns what `grade_segments` does; None where the test part has no continuous recordings: its windows are random
    ones, no stretch has a change of label, or none is as long as a window.
    """
    stretches = dataset.test_stretches
    starts = window_starts(stretches, dataset.window, step)
    continuous = len(cut_at_label_changes(dataset.labels, stretches)) > len(stretches)
    if "leaky" in dataset.marks or not continuous or not len(starts):
        return None
    nothing = np.zeros(len(starts), np.int32)
    probabilities = probabilities_of(Split(starts.astype(np.int32), nothing, nothing))
    found = zip(starts.tolist(), probabilities.argmax(axis=1).tolist(), probabilities.max(axis=1).tolist(), strict=True)
    owner = np.searchsorted(stretches[:, 0], starts, side="right") - 1
    windows = [
        PredictedWindow(start / dataset.rate, (start + dataset.window) / dataset.rate, label, confidence, stretch)
        for (start, label, confidence), stretch in zip(found, owner.tolist(), strict=True)
    ]
    graded = []
    for i, (first, end) in enumerate(stretches.tolist()):
        time = np.arange(first, end) / dataset.rate
        true = true_segments(dataset.labels[first:end], time, np.zeros(1, np.int64), dataset.rate)
        graded += divide(true, merge_windows([window for window in windows if window.stretch == i]))
    return grade_segments(graded, dataset.class_names)
