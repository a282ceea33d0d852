"""Computes the tables of a study: one per data set, with a line per row and one per ensemble of its seeds."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dcdp_jax import metrics
from dcdp_jax.errors import CheckpointError
from dcdp_jax.evaluate.ensemble import count_windows, mean_probabilities
from dcdp_jax.runs.reading import seconds_of
from dcdp_jax.studies.grid import is_inner
from dcdp_jax.studies.outcomes import Outcome, StageOutcome, by_dataset, finished, validation_mean
from dcdp_jax.studies.statistics import (
    Estimate,
    Summary,
    difference_interval,
    holm,
    paired,
    paired_p,
    subject_interval,
    subjects_p,
    summarize,
)


class Cell(NamedTuple):
    """One score of one row on the test set."""

    # over seeds, or over folds if there are several, in percent (the loss unchanged); None if no trial was finished
    summary: Summary | None
    # to the row that it is compared with, over the seeds and folds that both have, in points; None where there is none
    difference: Estimate | None = None
    # of the paired test against that row, with Holm correction over the rows of the table; NaN for one pair
    p: float | None = None
    paper: float | None = None  # the published figure in percent, or None


class OverSubjects(NamedTuple):
    """The accuracy of a row over the people that test it."""

    n: int  # number of test subjects
    low: float  # lower end of the 95 % bootstrap interval over them, in percent; NaN for one subject
    high: float  # upper end
    # of the sign-flip test over them against the row that it is compared with, on the seeds and folds that both
    # have, with Holm correction over the rows of the table; NaN where there is none
    p: float


class Line(NamedTuple):
    """One row of a table, or the ensemble of the seeds of one."""

    stage: str  # name of its stage
    row: str  # name
    best: bool  # whether it was chosen by validation in its stage
    # mean of the selection score on the validation set, or on what inner folds hold out, in percent; None where
    # there is neither
    validation: float | None
    cells: dict[str, Cell]  # {score: Cell}
    finished: int  # trials with a result; of an ensemble, the folds
    failed: int  # trials that ended with an error
    parameters: float | None  # of the model, a mean where trials differ; None where none was finished
    # of training, the mean over trials, each its share where several were trained at once; None where none was
    # finished, and for an ensemble
    seconds: float | None = None
    # its accuracy over the test subjects; None where no trial left predictions, and for an ensemble
    subjects: OverSubjects | None = None
    ensemble: str = ""  # number of trials per fold that it averages: `3`, or `2 to 3`; '' for a row
    inner: bool = False  # whether it was trained in folds over the training subjects, and has not read the test set


class Table(NamedTuple):
    """A data set's table."""

    dataset: str  # name in the study
    protocols: tuple[str, ...]  # of the trials
    marks: tuple[str, ...]  # of any trial: synthetic, leaky, incomplete
    compare: Mapping[str, str]  # {row: the row that it is compared with}
    selection: str  # score by which rows were chosen on the validation set
    tested: tuple[str, ...]  # `train.selection` of the trials of networks
    lines: list[Line]  # one per row, followed by that of its ensemble where it has one
    folded: bool = False  # whether the trials that read the test set have several folds
    fingerprints: int = 1  # number of different data fingerprints of these trials
    unpredicted: int = 0  # number of these trials without predictions.csv


def make_tables(
    stages: Sequence[StageOutcome],
    scores: Sequence[str],
    selection: str,
    compare: Mapping[str, str],
    paper: Sequence[Sequence[Any]],
) -> list[Table]:
    """Makes the tables of all data sets of a study.

    Args:
      stages: Outcomes of the stages.
      scores: Scores of `metrics.scores` that get a column.
      selection: Score by which rows were chosen on the validation set.
      compare: {row: the row that it is compared with}.
      paper: Published figures as (row, data set, score, percent).
    """
    tables = []
    for dataset, here in by_dataset([outcome for stage in stages for outcome in stage.outcomes]).items():
        published = {(row, score): value for row, name, score, value in paper if name == dataset}
        tested = [outcome for outcome in here if outcome.result and not is_inner(outcome.trial)]
        results = [outcome.result for outcome in tested]
        tables.append(
            Table(
                dataset,
                protocols=tuple(sorted({result["protocol"] for result in results})),
                marks=tuple(sorted({mark for one in here if one.result for mark in one.result["marks"]})),
                compare=compare,
                selection=selection,
                tested=tuple(sorted({result.get("selection", "best") for result in results} - {None})),
                lines=make_lines(stages, here, scores, selection, compare, published),
                folded=len({outcome.trial.fold for outcome in tested}) > 1,
                fingerprints=len({result.get("data_fingerprint") for result in results}),
                unpredicted=sum(outcome.predictions is None for outcome in tested),
            )
        )
    return tables


def make_lines(
    stages: Sequence[StageOutcome],
    outcomes: Sequence[Outcome],
    scores: Sequence[str],
    selection: str,
    compare: Mapping[str, str],
    published: Mapping[tuple[str, str], float],
) -> list[Line]:
    """Makes the lines of the table of one data set, from its outcomes; `published` is {(row, score): percent}."""
    tested = [outcome for outcome in outcomes if not is_inner(outcome.trial)]
    rows = list(dict.fromkeys(outcome.trial.row for outcome in outcomes))
    cells = {score: score_cells(tested, rows, score, compare) for score in scores}
    over_subjects = subject_statistics(tested, rows, compare)
    lines = []
    for stage, _, best in stages:
        for row in [row.name for row in stage.rows]:
            of_row = [outcome for outcome in outcomes if outcome.trial.row == row]
            results = [outcome.result for outcome in of_row if outcome.result]
            validation = validation_mean(of_row, row, selection)
            inner = any(is_inner(outcome.trial) for outcome in of_row)
            lines.append(
                Line(
                    stage.name,
                    row,
                    best=len(stages) > 1 and row == best,
                    validation=None if validation is None else 100 * validation,
                    cells={score: cells[score][row]._replace(paper=published.get((row, score))) for score in scores},
                    finished=len(results),
                    failed=len(of_row) - len(results),
                    parameters=float(np.mean([result["parameters"] for result in results])) if results else None,
                    seconds=float(np.mean([seconds_of(result) for result in results])) if results else None,
                    subjects=over_subjects[row],
                    inner=inner,
                )
            )
            if not inner and (ensemble := ensemble_line(stage.name, row, of_row, scores)):
                lines.append(ensemble)
    return lines


def ensemble_line(stage: str, row: str, outcomes: Sequence[Outcome], scores: Sequence[str]) -> Line | None:
    """Returns the line of the mean probabilities of a row's seeds, scored in each fold with at least two of them.

    It has no interval, and no loss and calibration error. None where no fold has two trials with probabilities.
    """
    folds: dict[int, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.predictions is not None and outcome.predictions.probabilities is not None:
            folds[outcome.trial.fold].append(outcome)
    complete = [members for members in folds.values() if len(members) > 1]
    if not complete:
        return None
    found = [combined_scores(members, mean_probabilities) for members in complete]
    means = {score: 100 * float(np.mean([one[score] for one in found])) for score in found[0]}
    cells = {
        score: Cell(Summary(len(found), means[score], np.nan, np.nan, np.nan) if score in means else None)
        for score in scores
    }
    counts = sorted({len(members) for members in complete})
    runs = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    parameters = np.mean([sum(member.result["parameters"] for member in members) for members in complete])
    name = f"{row}, ensemble of {runs}"
    return Line(stage, name, False, None, cells, len(found), 0, float(parameters), ensemble=runs)


def subject_statistics(
    outcomes: Sequence[Outcome], rows: Sequence[str], compare: Mapping[str, str]
) -> dict[str, OverSubjects | None]:
    """Returns the accuracy of every row over the test subjects; None for a row without predictions."""
    predicted = [outcome for outcome in outcomes if outcome.predictions]
    by_row = {row: finished(predicted, row) for row in rows}
    found: dict[str, OverSubjects | None] = {}
    tests = []
    for row, trials in by_row.items():
        found[row] = None
        if trials:
            accuracy, windows = subject_accuracy(list(trials.values()))
            low, high = subject_interval(accuracy, windows)
            found[row] = OverSubjects(len(accuracy), 100 * low, 100 * high, np.nan)
        other = by_row.get(compare.get(row, ""), {})
        both = [key for key in trials if key in other]
        a, b = (subject_accuracy([of[key] for key in both])[0] for of in (trials, other))
        tests.append(subjects_p(a, b))
    return {row: over and over._replace(p=p) for (row, over), p in zip(found.items(), holm(tests), strict=True)}


def score_cells(
    outcomes: Sequence[Outcome], rows: Sequence[str], score: str, compare: Mapping[str, str]
) -> dict[str, Cell]:
    """Returns one score of every row, and its difference to the row that it is compared with."""
    by_row = {row: test_scores(outcomes, row, score) for row in rows}
    pairs = [paired(by_row[row], by_row.get(compare.get(row, ""), {})) for row in rows]
    corrected = holm([paired_p(*both.T) for both in pairs])
    cells = {}
    for row, both, p in zip(rows, pairs, corrected, strict=True):
        values = paired(by_row[row])[:, 0]
        cells[row] = Cell(summarize(values) if len(values) else None)
        if len(both):
            cells[row] = cells[row]._replace(difference=difference_interval(both), p=p)
    return cells


def test_scores(outcomes: Sequence[Outcome], row: str, score: str) -> dict[tuple[int, int], float]:
    """Returns {(fold, seed): score on the test set} of a row, in percent; the loss is as it is."""
    factor = 1 if score == "loss" else 100
    return {key: factor * outcome.result["test"][score] for key, outcome in finished(outcomes, row).items()}


def subject_accuracy(outcomes: Sequence[Outcome]) -> tuple[dict[str, float], dict[str, int]]:
    """Returns accuracy and number of windows by test subject, over the trials of one row that have predictions.

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
    """Computes `metrics.scores` of the combined class probabilities of several trials.

    `combine` maps a sequence of (n, k) probabilities to (n, k) values, of which the largest is predicted. Raises
    CheckpointError if a trial has no probabilities, or two were tested on different windows.
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
    return metrics.scores(count_windows(windows, combine(probabilities), members[0].result["class_names"]))
