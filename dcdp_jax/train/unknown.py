"""Chooses the rule for unknown windows at the end of training, and measures it on a class that was left out."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from dcdp_jax.data.dataset import Dataset, Split
from dcdp_jax.data.normalize import normalize
from dcdp_jax.density import BLOCK, Density, distances, fit_density, window_features
from dcdp_jax.rejection import (
    Rejection,
    accuracy_by_coverage,
    choose_threshold,
    detection,
    fit_rejection,
    scale_probabilities,
)
from dcdp_jax.train.evaluation import Evaluation

POINTS = 100  # largest number of points of a curve in result.json


class UnknownRule(NamedTuple):
    """The rule by which a window is unknown."""

    rejection: Rejection  # temperature and thresholds
    density: Density  # of the training windows


def choose_rule(
    dataset: Dataset,
    evaluate: Callable[[Split], Evaluation],
    validation: Evaluation,
    branches: Sequence[str],
    coverage: float,
) -> UnknownRule:
    """Fits the density to the training set, and chooses temperature and thresholds on the validation set.

    Args:
      dataset: of the run.
      evaluate: function that evaluates the tested state.
      validation: its evaluation of the validation set.
      branches: names of the model's branches in order, none for a baseline.
      coverage: smallest share of the validation windows that each threshold keeps.

    Returns:
      `UnknownRule`.
    """
    train, split = dataset.splits["train"], dataset.splits["validation"]
    density = fit_density(density_features(dataset, train, evaluate(train), branches), train.labels)
    rejection = fit_rejection(validation.probabilities, split.labels, coverage)
    distant = distances(density, density_features(dataset, split, validation, branches))
    largest = -choose_threshold(-distant, coverage)
    return UnknownRule(msgspec.structs.replace(rejection, distance=largest), density)


def unknown_results(
    dataset: Dataset, rule: UnknownRule | None, test: Evaluation, unknown: Evaluation | None, branches: Sequence[str]
) -> dict[str, Any]:
    """Measures the rule on the test set.

    Args:
      dataset: of the run.
      rule: None without a validation set.
      test: evaluation of the test set.
      unknown: evaluation of its windows of the class that was left out; None without such a class.
      branches: names of the model's branches in order.

    Returns:
      Items of result.json. With a rule: `rejection`, and `kept_by_distance` with pairs of coverage and accuracy among
      the windows nearest to the training windows. With unknown windows: `left_out` without name and number, see
      `detection`, and in it `distance`, which has the same for the distance.
    """
    results: dict[str, Any] = {}
    temperature = rule.rejection.temperature if rule else 1.0
    parts = [(dataset.splits["test"], test)]
    if unknown and dataset.unknown:
        parts.append((dataset.unknown, unknown))
        known, other = (scale_probabilities(found.probabilities, temperature).max(axis=1) for _, found in parts)
        results["left_out"] = detection(known, other, rule.rejection.threshold if rule else None)
    if rule:
        near = [-distances(rule.density, density_features(dataset, *part, branches)) for part in parts]
        results["rejection"] = msgspec.structs.asdict(rule.rejection)
        right = test.probabilities.argmax(axis=1) == dataset.splits["test"].labels
        results["kept_by_distance"] = thinned(*accuracy_by_coverage(right, near[0]))
        if unknown and rule.rejection.distance is not None:
            results["left_out"]["distance"] = detection(near[0], near[1], -rule.rejection.distance)
    return results


def thinned(coverage: np.ndarray, accuracy: np.ndarray) -> list[list[float]]:
    """Returns at most `POINTS` points of a curve, evenly spread over the coverage, and the last point."""
    chosen = np.unique(np.searchsorted(coverage, np.linspace(1 / POINTS, 1, POINTS) - 1e-9))
    return np.stack([coverage, accuracy], axis=1)[chosen].tolist()


def density_features(dataset: Dataset, split: Split, found: Evaluation, branches: Sequence[str]) -> np.ndarray:
    """Returns the features (n, f) of the windows of a split, see `dcdp_jax.density`.

    Args:
      dataset: of the run.
      split: of the dataset.
      found: its evaluation.
      branches: names of the model's branches in order, none for a baseline.
    """
    given = [found.probabilities, *(found.branches[name] for name in branches)]
    return np.concatenate(
        [
            window_features(
                [p[i : i + BLOCK] for p in given],
                np.asarray(normalize(dataset.windows_at(split.starts[i : i + BLOCK]), *dataset.normalizer)),
            )
            for i in range(0, len(split.starts), BLOCK)
        ]
    )
