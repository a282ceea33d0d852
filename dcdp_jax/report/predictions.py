"""Accuracy by subject, from the predictions of a run."""

import numpy as np

from dcdp_jax.runs.reading import Predictions


def by_subject(predictions: Predictions) -> list[tuple[str, float, int]]:
    """Returns (subject, accuracy, windows), the lowest accuracy first."""
    names = np.array(predictions.subjects)
    found = []
    for name in dict.fromkeys(predictions.subjects):
        right = predictions.right[names == name]
        found.append((name, float(right.mean()), len(right)))
    return sorted(found, key=lambda row: row[1])
