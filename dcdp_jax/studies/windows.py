"""Computes the accuracy of a row by test subject, and the ensemble of its seeds, from predictions of single windows."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from dcdp_jax.errors import CheckpointError
from dcdp_jax.evaluate.ensemble import count_windows, mean_probabilities
from dcdp_jax.metrics import scores
from dcdp_jax.studies.engine import Outcome


class Subjects(NamedTuple):
    """The test subjects of a row."""

    accuracy: dict[str, float]  # {subject: share of its windows that is right, the mean over the trials that test it}
    windows: dict[str, int]  # {subject: its test windows, summed over folds}


class Ensemble(NamedTuple):
    """The mean probabilities of the seeds of a row, scored in each fold with at least two finished trials."""

    runs: str  # how many trials a fold has: `3`, or `2 to 3`
    folds: int  # number of folds
    parameters: float  # of all its runs, the mean over folds
    scores: dict[str, float]  # {score: percent on the test part, the mean over folds}; `metrics.scores` lists them


def subjects_of(outcomes: Sequence[Outcome]) -> Subjects:
    """Returns the accuracy by subject over the trials of one row that left predictions."""
    shares: dict[str, list[float]] = defaultdict(list)
    windows: dict[str, dict[int, int]] = defaultdict(dict)
    for outcome in outcomes:
        for name, right in outcome.predictions.by_subject().items() if outcome.predictions else ():
            shares[name].append(float(right.mean()))
            windows[name][outcome.trial.fold] = len(right)
    return Subjects(
        {name: float(np.mean(values)) for name, values in shares.items()},
        {name: sum(by_fold.values()) for name, by_fold in windows.items()},
    )


def ensemble_of(outcomes: Sequence[Outcome]) -> Ensemble | None:
    """Returns the ensemble of one row, or None where no fold has two finished trials with probabilities."""
    folds: dict[int, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.predictions is not None and outcome.predictions.probabilities is not None:
            folds[outcome.trial.fold].append(outcome)
    complete = [members for members in folds.values() if len(members) > 1]
    if not complete:
        return None
    found = [combined_scores(members, mean_probabilities) for members in complete]
    counts = sorted({len(members) for members in complete})
    runs = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    parameters = np.mean([sum(member.result["parameters"] for member in members) for members in complete])
    means = {score: 100 * float(np.mean([one[score] for one in found])) for score in found[0]}
    return Ensemble(runs, len(found), float(parameters), means)


def combined_scores(
    members: Sequence[Outcome], combine: Callable[[Sequence[np.ndarray]], np.ndarray]
) -> dict[str, float]:
    """Returns `metrics.scores` of the (n, k) that `combine` makes of the class probabilities of some trials.

    Raises:
      CheckpointError: a trial left no probabilities, or two were tested on different windows.
    """
    windows, probabilities = None, []
    for member in members:
        given = member.predictions
        if given is None or given.probabilities is None:
            raise CheckpointError(f"{member.trial.name} left no probabilities; remove its folder, and train it again")
        if windows is not None and given.windows != windows:
            raise CheckpointError(
                f"{member.trial.name} and {members[0].trial.name} were tested on different windows; remove the folder "
                "of the older one, and the same command trains it again"
            )
        windows = given.windows
        probabilities.append(given.probabilities)
    assert windows is not None
    return scores(count_windows(windows, combine(probabilities), members[0].result["class_names"]))
