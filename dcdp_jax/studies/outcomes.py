"""Results of the trials of a study, as they are read from their folders, and the best row of a stage."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dcdp_jax.errors import CheckpointError
from dcdp_jax.runs.files import RESULT
from dcdp_jax.runs.reading import Predictions, read_metrics, read_predictions, read_result
from dcdp_jax.studies.grid import Stage, Trial, is_inner
from dcdp_jax.studies.worker import ERROR

TRIALS = "trials"


class Outcome(NamedTuple):
    """A trial with its result and, if it wrote them, its predictions; or with None and the error that ended it."""

    trial: Trial
    result: Any
    error: str | None
    predictions: Predictions | None = None


class StageOutcome(NamedTuple):
    """A stage, the outcomes of its trials, and its best row, on which the next stage builds."""

    stage: Stage
    outcomes: list[Outcome]
    best: str | None


def folder_of(trial: Trial, workdir: Path) -> Path:
    """Returns the workdir of a trial."""
    return workdir / TRIALS / trial.name


@contextlib.contextmanager
def removable(folder: Path) -> Iterator[None]:
    """Adds to a CheckpointError that the folder of the trial may be removed."""
    try:
        yield
    except CheckpointError as damage:
        raise CheckpointError(f"{damage}; or remove {folder}: the same command trains it again") from None


def metrics_of(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns the step records and the epoch records of a trial's folder, see `read_metrics`."""
    with removable(folder):
        return read_metrics(folder)


def outcome_of(trial: Trial, workdir: Path) -> Outcome:
    """Reads the result of a trial, or its error."""
    folder = folder_of(trial, workdir)
    if (folder / RESULT).exists():
        with removable(folder):
            result = read_result(folder)
            return Outcome(trial, result, None, read_predictions(folder, result))
    error = (folder / ERROR).read_text() if (folder / ERROR).exists() else "not run"
    return Outcome(trial, None, error.splitlines()[0])


def by_dataset(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Returns {data set: outcomes of its trials}, in the order of the study."""
    found: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        found.setdefault(outcome.trial.dataset, []).append(outcome)
    return found


def finished(outcomes: Sequence[Outcome], row: str) -> dict[tuple[int, int], Outcome]:
    """Returns {(fold, seed): outcome} of the trials of a row that have a result."""
    return {(o.trial.fold, o.trial.seed): o for o in outcomes if o.trial.row == row and o.result}


def best_row(stage: Stage, outcomes: Sequence[Outcome], score: str) -> str | None:
    """Returns the row with the highest mean validation score, the first of several equal ones; None if there is none.

    A row takes part only if it has a score for every data set, fold and seed for which another row has one, because the
    mean of a row without its failed trials may lack the hardest people. For rows that are chosen by folds over the
    training subjects, it is the score on the held-out subjects of a fold.
    """
    found = {row.name: validation_scores(outcomes, row.name, score) for row in stage.rows}
    wanted = {key for of_row in found.values() for key in of_row}
    complete = {name: list(of_row.values()) for name, of_row in found.items() if of_row and of_row.keys() == wanted}
    return max(complete, key=lambda name: float(np.mean(complete[name]))) if complete else None


def validation_scores(outcomes: Sequence[Outcome], row: str, score: str) -> dict[tuple[str, int, int], float]:
    """Returns {(data set, fold, seed): validation score} of a row's finished trials that have a validation set."""
    parts = [(o.trial, o.result, "test" if is_inner(o.trial) else "validation") for o in outcomes if o.trial.row == row]
    return {
        (trial.dataset, trial.fold, trial.seed): result[part][score]
        for trial, result, part in parts
        if result and part in result
    }


def validation_mean(outcomes: Sequence[Outcome], row: str, score: str) -> float | None:
    """Returns the mean validation score of a row; None without a finished trial that has a validation set."""
    values = validation_scores(outcomes, row, score).values()
    return float(np.mean(list(values))) if values else None
