"""Computes the accuracy of a row by test subject, and scores of combined trials, from predictions of single windows."""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from dcdp_jax.errors import CheckpointError
from dcdp_jax.evaluate.ensemble import count_windows
from dcdp_jax.metrics import scores
from dcdp_jax.studies.engine import Outcome


def subjects_of(outcomes: Sequence[Outcome]) -> tuple[dict[str, float], dict[str, int]]:
    """Returns accuracy and number of windows by test subject, over the trials of one row that left predictions.

    The accuracy is the mean over the trials that test a subject; the windows are summed over folds.
    """
    shares: dict[str, list[float]] = defaultdict(list)
    windows: dict[str, dict[int, int]] = defaultdict(dict)
    for outcome in outcomes:
        for name, right in outcome.predictions.by_subject().items() if outcome.predictions else ():
            shares[name].append(float(right.mean()))
            windows[name][outcome.trial.fold] = len(right)
    accuracy = {name: float(np.mean(values)) for name, values in shares.items()}
    return accuracy, {name: sum(by_fold.values()) for name, by_fold in windows.items()}


def combined_scores(
    members: Sequence[Outcome], combine: Callable[[Sequence[np.ndarray]], np.ndarray]
) -> dict[str, float]:
    """Returns `metrics.scores` of the (n, k) that `combine` makes of the class probabilities of several trials.

    Raises CheckpointError where a trial left no probabilities, or two were tested on different windows.
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
