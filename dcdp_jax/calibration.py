"""Scores of each class, and the expected calibration error over bins of confidence. Needs NumPy only."""

from typing import NamedTuple

import numpy as np

CALIBRATION_BINS = 15
# The scores by which splits, disturbances and subjects are compared, and their labels.
MAIN_SCORES = {"accuracy": "accuracy", "f1_macro": "macro F1"}


def class_scores(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Computes precision, recall and f1 (k,) of every class of a (k, k) count matrix, 0 where they are not defined."""
    matrix = np.asarray(counts, np.float64)
    hits, true, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    ratios = {"precision": (hits, predicted), "recall": (hits, true), "f1": (2 * hits, true + predicted)}
    return {
        name: np.divide(above, below, out=np.zeros_like(below), where=below > 0)
        for name, (above, below) in ratios.items()
    }


class Bins(NamedTuple):
    """Windows in bins of confidence, of equal width from 0 to 1."""

    windows: np.ndarray  # (bins,) counts
    accuracy: np.ndarray  # (bins,) share of right predictions; NaN where there is no window
    confidence: np.ndarray  # (bins,) mean; NaN where there is no window

    def error(self) -> float:
        """Returns the expected calibration error: |accuracy - confidence|, averaged over all windows."""
        gap = np.where(self.windows > 0, np.abs(self.accuracy - self.confidence), 0)
        return float((gap * self.windows).sum() / self.windows.sum())


def calibration(right: np.ndarray, confidence: np.ndarray) -> Bins:
    """Counts windows in bins of confidence, as `dcdp_jax.metrics.Tally` counts them for `ece`.

    Takes (n,) bool, whether the predicted class is the true one, and (n,) float32, the probability of that class.
    """
    bin_of = np.clip((confidence * np.float32(CALIBRATION_BINS)).astype(np.int32), 0, CALIBRATION_BINS - 1)
    windows = np.bincount(bin_of, minlength=CALIBRATION_BINS).astype(float)
    sums = [np.bincount(bin_of, values.astype(float), CALIBRATION_BINS) for values in (right, confidence)]
    means = [np.divide(total, windows, out=np.full(CALIBRATION_BINS, np.nan), where=windows > 0) for total in sums]
    return Bins(windows, *means)
