"""Mergeable counts and the scores computed from them.

Shapes: b batch, k classes. The rows of a count matrix are the true classes.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Num

from dcdp_jax.calibration import CALIBRATION_BINS, class_scores
from dcdp_jax.optim import true_class_confidence

# The names of `scores`.
SCORES = ("accuracy", *(f"{score}_{mean}" for mean in ("macro", "weighted") for score in ("precision", "recall", "f1")))


def scores(counts: Num[np.ndarray, "k k"] | Num[Array, "k k"]) -> dict[str, float]:
    """Computes accuracy, and macro and weighted precision, recall and F1, as scikit-learn does with zero_division=0.

    As in scikit-learn with the labels found in the data, a class that is neither present nor predicted does not
    enter the macro means.

    Args:
      counts: (k, k) number of windows by true class (rows) and predicted class (columns).

    Returns:
      accuracy, precision_macro, recall_macro, f1_macro, precision_weighted, recall_weighted, f1_weighted.

    Raises:
      ValueError: No window, or a matrix that is not square.

    Example:
      >>> print(scores(np.array([[3, 1], [0, 4]]))["accuracy"])
      0.875
    """
    matrix = np.asarray(counts, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"a count matrix is square, got shape {matrix.shape}")
    if matrix.sum() == 0:
        raise ValueError("no window was counted: scores of nothing are not defined")
    true, per_class = matrix.sum(axis=1), class_scores(matrix)
    present = (true + matrix.sum(axis=0)) > 0
    result = {"accuracy": float(np.diag(matrix).sum() / matrix.sum())}
    result |= {f"{name}_macro": float(values[present].mean()) for name, values in per_class.items()}
    result |= {f"{name}_weighted": float(values @ true / true.sum()) for name, values in per_class.items()}
    return result


def accuracy_text(found: Mapping[str, float]) -> str:
    """Formats the accuracy and the macro F1 of `scores` for the terminal."""
    return f"accuracy {found['accuracy']:.4f}, macro F1 {found['f1_macro']:.4f}"


def count_predictions(
    labels: Int[np.ndarray, "b"], predicted: Int[np.ndarray, "b"], classes: int
) -> Int[np.ndarray, "k k"]:
    """Counts windows by true class (rows) and predicted class (columns).

    Example:
      >>> count_predictions(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
      [[1, 1], [0, 1]]
    """
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    return counts


class Tally(struct.PyTreeNode):
    """Sums over windows, from which every reported score is computed. Tallies are merged by adding their leaves."""

    confusion: jax.Array  # (k, k) windows, rows true
    loss: jax.Array  # () sum of the cross-entropy of the fusion output
    branch_hits: dict[str, jax.Array]  # {branch: () windows that the branch's own classifier gets right}
    confidence: dict[str, jax.Array]  # {branch: () S, sum of the probability that the branch gives to the true class}
    bins: jax.Array  # (3, 15) windows, hits and summed confidence per bin of the predicted probability

    def scores(self) -> dict[str, float]:
        """Returns `scores` of the confusion matrix, the mean `loss` and the expected calibration error `ece`."""
        windows = float(np.sum(self.confusion))
        count, hits, confidence = np.asarray(self.bins, np.float64)
        return scores(np.asarray(self.confusion)) | {
            "loss": float(self.loss) / windows,
            "ece": float(np.abs(hits - confidence).sum() / count.sum()),
        }

    def branch_accuracy(self) -> dict[str, float]:
        """Returns {branch: accuracy of its own classifier}."""
        windows = float(np.sum(self.confusion))
        return {name: float(hits) / windows for name, hits in self.branch_hits.items()}


def tally(
    fusion: Float[Array, "b k"],
    branches: Mapping[str, Float[Array, "b k"]],
    labels: Int[Array, "b"],
    mask: Bool[Array, "b"],
) -> Tally:
    """Counts the windows of a batch, from the logits of the fusion and of each branch; the mask is False for padding.

    Example:
      >>> logits, mask = jnp.array([[2.0, 0.0], [0.0, 1.0]]), jnp.array([True, False])
      >>> print(tally(logits, {"res": logits}, jnp.array([0, 0]), mask).confusion.tolist())
      [[1.0, 0.0], [0.0, 0.0]]
    """
    classes = fusion.shape[-1]
    weight = mask.astype(jnp.float32)
    predicted = fusion.argmax(axis=-1)
    log_softmax = jax.nn.log_softmax(fusion)
    top = jnp.exp(log_softmax.max(axis=-1))
    hit = jnp.where(predicted == labels, weight, 0)
    bin_of = jnp.clip((top * CALIBRATION_BINS).astype(jnp.int32), 0, CALIBRATION_BINS - 1)
    return Tally(
        confusion=jnp.zeros((classes, classes)).at[labels, predicted].add(weight),
        loss=-jnp.sum(weight * jnp.take_along_axis(log_softmax, labels[:, None], axis=-1)[:, 0]),
        branch_hits={name: jnp.sum(jnp.where(z.argmax(axis=-1) == labels, weight, 0)) for name, z in branches.items()},
        confidence=true_class_confidence(branches, labels, mask=mask),
        bins=jnp.zeros((3, CALIBRATION_BINS)).at[:, bin_of].add(jnp.stack([weight, hit, weight * top])),
    )
