"""Temperature scaling of probabilities, and the confidence below which a window is classified as `unknown`.

Shapes: n windows, k classes. The confidence of a window is the largest of its scaled probabilities (Hendrycks and
Gimpel 2017); the scaling is that of Guo et al. 2017.
"""

from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

TEMPERATURES = (0.05, 20.0)
FALSE_ALARMS = (0.01, 0.05, 0.1, 0.2)
SMALLEST = float(np.finfo(np.float32).tiny)


class Rejection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rule by which a window is `unknown`, chosen on validation windows."""

    temperature: Annotated[float, Meta(gt=0)]  # divides the logarithms of the probabilities
    threshold: Annotated[float, Meta(ge=0, le=1)]  # a window with a lower confidence is `unknown`
    coverage: Annotated[float, Meta(gt=0, le=1)]  # smallest share of the validation windows that each threshold keeps
    # squared distance from the training windows, see `dcdp_jax.density`, beyond which a window is `unknown`; None if it
    # was not measured
    distance: Annotated[float, Meta(ge=0)] | None = None


def scale_probabilities(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Computes softmax(log(p) / temperature), which is softmax(logits / temperature), of probabilities (..., k).

    Returns float64. A temperature above 1 lowers the confidence; NaN stays NaN.

    >>> scale_probabilities(np.array([0.8, 0.2]), 2.0).round(3).tolist()
    [0.667, 0.333]
    """
    scaled = np.log(np.maximum(np.asarray(probabilities, np.float64), SMALLEST)) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def mean_cross_entropy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean of -log of the probability of the true class, for (n, k) probabilities and (n,) labels."""
    true = np.take_along_axis(np.asarray(probabilities, np.float64), labels[:, None], axis=1)
    return float(-np.log(np.maximum(true, SMALLEST)).mean())


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Finds the temperature in `TEMPERATURES` with the least cross-entropy, for (n, k) probabilities and (n,) labels.

    It is 1 if every window is classified correctly, because the cross-entropy then has no minimum.
    """
    from scipy.optimize import minimize_scalar

    if np.all(probabilities.argmax(axis=1) == labels):
        return 1.0
    # The cross-entropy is convex in 1 / temperature, so that it has one minimum over the logarithm, too.
    found = minimize_scalar(
        lambda exponent: mean_cross_entropy(scale_probabilities(probabilities, np.exp(exponent)), labels),
        bounds=np.log(TEMPERATURES),
        method="bounded",
        options={"xatol": 1e-7},
    )
    return float(np.exp(found.x))


def choose_threshold(confidence: np.ndarray, coverage: float) -> float:
    """Returns the largest threshold that at least this share of the confidences (n,) reaches.

    >>> choose_threshold(np.array([0.9, 0.5, 0.7, 0.8]), coverage=0.75)
    0.7
    """
    may_reject = int(np.floor(len(confidence) * (1 - coverage) + 1e-9))
    return float(np.sort(confidence)[min(may_reject, len(confidence) - 1)])


def fit_rejection(probabilities: np.ndarray, labels: np.ndarray, coverage: float) -> Rejection:
    """Chooses temperature and threshold on validation windows with probabilities (n, k) and labels (n,).

    At least the share `coverage` of the windows is kept by the threshold.
    """
    temperature = fit_temperature(probabilities, labels)
    confidence = scale_probabilities(probabilities, temperature).max(axis=1)
    return Rejection(temperature, choose_threshold(confidence, coverage), coverage)


def accuracy_by_coverage(right: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes accuracy against coverage: for every threshold, the share of windows kept and the accuracy among them.

    Takes (n,) bool, whether the predicted class is the true one, and (n,) confidences; n is at least 1. Returns the
    coverage (m,), ascending to 1, and the accuracy (m,), one point for each different confidence.
    """
    order = np.argsort(-confidence, kind="stable")
    last = np.append(np.diff(confidence[order]) != 0, True)
    kept = np.arange(1, len(order) + 1)
    return (kept / len(order))[last], (np.cumsum(right[order]) / kept)[last]


def area_under_roc(known: np.ndarray, unknown: np.ndarray) -> float:
    """Computes the area under the ROC curve of finding unknown windows by low confidence: 1 is perfect, 0.5 chance.

    It is the probability that an unknown window, of a class that was not trained, has a lower confidence (m,) than a
    known one (n,), ties counted by half.

    >>> area_under_roc(np.array([0.9, 0.6]), np.array([0.5, 0.6]))
    0.875
    """
    ordered = np.sort(known)
    below, reached = (np.searchsorted(ordered, unknown, side=side) for side in ("left", "right"))
    return float(1 - np.mean((below + reached) / 2) / len(known))


def detection(known: np.ndarray, unknown: np.ndarray, threshold: float | None) -> dict[str, Any]:
    """Measures how well a score, such as the confidence, detects test windows of a class that was left out of training.

    Args:
      known: (n,) scores of the windows of the known classes.
      unknown: (m,) scores of the windows of the class that was left out.
      threshold: Windows with a lower score are called unknown; None for no threshold.

    Returns:
      `dcdp_jax.runs.schemas.Separation`: `auroc`, the area under the ROC curve; `found`, one {`allowed`,
      `false_alarms`, `found`} for each of `FALSE_ALARMS`, where `allowed` is the largest share of false alarms,
      `false_alarms` is the share of the known windows that are called unknown, and `found` that of the unknown windows;
      and with a threshold `at_threshold`, the last two for it.
    """

    def outcome(threshold: float) -> dict[str, float]:
        return {"false_alarms": float(np.mean(known < threshold)), "found": float(np.mean(unknown < threshold))}

    found = {
        "auroc": area_under_roc(known, unknown),
        "found": [{"allowed": share} | outcome(choose_threshold(known, 1 - share)) for share in FALSE_ALARMS],
    }
    return found | ({"at_threshold": outcome(threshold)} if threshold is not None else {})
