"""Measures by how much the classifiers improve when they are adapted to a few labelled seconds of each test subject."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from dcdp_jax.calibration import MAIN_SCORES
from dcdp_jax.data.dataset import Dataset
from dcdp_jax.data.normalize import normalize
from dcdp_jax.errors import ConfigError
from dcdp_jax.metrics import accuracy_text, count_predictions, scores
from dcdp_jax.models.multipath import MultiPath
from dcdp_jax.train.classifiers import BATCH, train_classifiers


def measure_calibration(dataset: Dataset, network: nn.Module, variables: Any, seconds: float) -> dict[str, Any]:
    """Adapts the classifiers to each test subject with its calibration windows, and tests them on its other windows.

    The data set has windows for `calibration`, of as many seconds; the variables are `params` and `batch_stats`.
    Returns `runs.schemas.Calibrated`: `before` and `after` are over all test subjects that have both kinds of windows.
    Raises ConfigError where there is no such subject, or the model has no branches.
    """
    assert dataset.calibration is not None
    if not isinstance(network, MultiPath):
        raise ConfigError(
            f"data.calibration={seconds:g} adapts the classifiers of branches, and this model has none; set it to 0"
        )
    test, given, classes = dataset.splits["test"], dataset.calibration, len(dataset.class_names)

    @jax.jit
    def predict(params: Any, x: Any) -> jax.Array:
        outputs = network.apply({**variables, "params": params}, normalize(x, *dataset.normalizer))
        return outputs.fusion.argmax(axis=-1)

    def confusion(params: Any, starts: np.ndarray, labels: np.ndarray) -> np.ndarray:
        windows, predicted = dataset.windows_at(starts), []
        for first in range(0, len(windows), BATCH):
            some = windows[first : first + BATCH]
            padded = np.pad(some, ((0, BATCH - len(some)), (0, 0), (0, 0)))
            predicted.append(np.asarray(predict(params, padded))[: len(some)])
        return count_predictions(labels, np.concatenate(predicted), classes)

    subjects, before, after = {}, [], []
    for subject in np.intersect1d(test.subjects, given.subjects).tolist():
        tested, adapting = test.subjects == subject, given.subjects == subject
        windows, labels = dataset.windows_at(given.starts[adapting]), given.labels[adapting]
        params = train_classifiers(network, variables, dataset.normalizer, windows, labels)
        before.append(confusion(variables["params"], test.starts[tested], test.labels[tested]))
        after.append(confusion(params, test.starts[tested], test.labels[tested]))
        subjects[dataset.subject_names.get(subject, str(subject))] = {
            "windows": int(tested.sum()),
            "calibration_windows": len(labels),
            "before": scores(before[-1])["accuracy"],
            "after": scores(after[-1])["accuracy"],
        }
    if not subjects:
        raise ConfigError(f"data.calibration={seconds:g}: no test subject has windows left to test; set fewer seconds")
    found = {name: scores(np.sum(counts, axis=0)) for name, counts in (("before", before), ("after", after))}
    return {
        "seconds": seconds,
        **{name: {score: values[score] for score in MAIN_SCORES} for name, values in found.items()},
        "subjects": subjects,
    }


def calibration_line(measured: Mapping[str, Any]) -> str:
    """Formats the scores as a line of text."""
    changes = [row["after"] - row["before"] for row in measured["subjects"].values()]
    return (
        f"calibration with {measured['seconds']:g} s of each class, {len(changes)} subjects: "
        f"before {accuracy_text(measured['before'])}; after {accuracy_text(measured['after'])}; "
        f"by subject {100 * min(changes):+.2f} to {100 * max(changes):+.2f} points"
    )
