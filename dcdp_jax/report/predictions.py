"""What a run says of every test window: the reader of predictions.csv, calibration, and accuracy by subject."""

import csv
import io
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dcdp_jax.errors import UserError
from dcdp_jax.runs.reading import read_text

FILE = "predictions.csv"
COLUMNS = ("recording", "start", "subject", "true", "predicted", "confidence")
CALIBRATION_BINS = 15  # those of the `ece` in result.json


class Predictions(NamedTuple):
    """The test windows in order.

    Attributes:
      subjects: n names.
      right: (n,) bool, whether the predicted class is the true one.
      confidence: (n,) float32 probability of the predicted class.
    """

    subjects: list[str]
    right: np.ndarray
    confidence: np.ndarray


class Bins(NamedTuple):
    """Windows by confidence, in equal bins from 0 to 1.

    Attributes:
      windows: (bins,) how many.
      accuracy: (bins,) share of right ones; NaN where there is no window.
      confidence: (bins,) mean; NaN where there is no window.
    """

    windows: np.ndarray
    accuracy: np.ndarray
    confidence: np.ndarray

    def error(self) -> float:
        """Expected calibration error: the gap between accuracy and confidence, weighted by windows."""
        gap = np.where(self.windows > 0, np.abs(self.accuracy - self.confidence), 0)
        return float((gap * self.windows).sum() / self.windows.sum())


def read_predictions(workdir: pathlib.Path, class_names: Sequence[object], windows: int) -> Predictions | None:
    """Reads `predictions.csv`.

    Args:
      workdir: folder of a run.
      class_names: of its result.
      windows: how many its result counts.

    Returns:
      The predictions, or None where the run left none.

    Raises:
      UserError: the file is damaged, or is not of this result.
    """
    path = workdir / FILE
    if not path.exists():
        return None
    head, *rows = csv.reader(io.StringIO(read_text(path), newline="")) or [[]]
    if tuple(head[: len(COLUMNS)]) != COLUMNS:
        raise UserError(f"{path}: the columns are {', '.join(head[:6])}, expected {', '.join(COLUMNS)} first")
    if len(rows) != windows:
        raise UserError(f"{path} holds {len(rows)} windows, and result.json counts {windows}")
    known = {str(name) for name in class_names}
    subjects, right, confidence = [], [], []
    for number, row in enumerate(rows, start=2):
        try:
            _, _, subject, true, predicted, given = row[: len(COLUMNS)]
            value = float(given)
        except ValueError:
            raise UserError(f"{path}, row {number}: not a window with a confidence; the file was edited") from None
        if not known >= {true, predicted} or not 0 <= value <= 1.001:
            raise UserError(f"{path}, row {number}: {true!r}, {predicted!r}, {given} do not fit result.json's classes")
        subjects.append(subject)
        right.append(true == predicted)
        confidence.append(value)
    return Predictions(subjects, np.array(right, bool), np.array(confidence, np.float32))


def calibration(predictions: Predictions) -> Bins:
    """The windows in bins of confidence, as result.json's `ece` counts them."""
    scaled = predictions.confidence * np.float32(CALIBRATION_BINS)
    bin_of = np.clip(scaled.astype(np.int32), 0, CALIBRATION_BINS - 1)
    windows = np.bincount(bin_of, minlength=CALIBRATION_BINS).astype(float)
    sums = [
        np.bincount(bin_of, values, minlength=CALIBRATION_BINS)
        for values in (predictions.right.astype(float), predictions.confidence.astype(float))
    ]
    means = [np.divide(total, windows, out=np.full(CALIBRATION_BINS, np.nan), where=windows > 0) for total in sums]
    return Bins(windows, *means)


def by_subject(predictions: Predictions) -> list[tuple[str, float, int]]:
    """(subject, accuracy, windows), the lowest accuracy first."""
    names = np.array(predictions.subjects)
    found = []
    for name in dict.fromkeys(predictions.subjects):
        right = predictions.right[names == name]
        found.append((name, float(right.mean()), len(right)))
    return sorted(found, key=lambda row: row[1])
