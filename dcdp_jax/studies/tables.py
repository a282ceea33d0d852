"""The numbers of a study's tables: one table per data set, a line per row and one per ensemble of its seeds."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dcdp_jax.studies.engine import Outcome, StageOutcome, finished, validation_mean
from dcdp_jax.studies.grid import is_inner
from dcdp_jax.studies.statistics import Summary, holm, paired, paired_p, subject_interval, subjects_p, summarize
from dcdp_jax.studies.windows import Ensemble, ensemble_of, subjects_of


class Cell(NamedTuple):
    """One score of one row on the test part."""

    summary: Summary | None  # over seeds and folds, in percent; None where no trial came to an end
    # to the mean of the row that it is compared with, over the seeds and folds that both have, in points; None
    # where there is none
    difference: float | None = None
    # of the paired test against that row, corrected after Holm over the rows of the table; NaN for one pair
    p: float | None = None
    paper: float | None = None  # the published figure in percent, or None


class OverSubjects(NamedTuple):
    """The accuracy of a row over the people that test it."""

    n: int  # number of test subjects
    low: float  # lower end of the 95 % bootstrap interval over them, in percent; NaN for one subject
    high: float  # upper end
    # of the sign-flip test over them against the row that it is compared with, on the seeds and folds that both
    # have, corrected after Holm over the rows of the table; NaN where there is none
    p: float


class Line(NamedTuple):
    """One row of a table, or the ensemble of the seeds of one."""

    stage: str  # it belongs to
    row: str  # name
    best: bool  # whether it was chosen by validation in its stage
    # mean of the selection score on the validation part, or on what inner folds hold out, in percent; None where
    # there is neither
    validation: float | None
    cells: dict[str, Cell]  # {score: Cell}
    finished: int  # trials with a result; of an ensemble, the folds
    failed: int  # trials that ended with an error
    parameters: float | None  # of the model, a mean where trials differ; None where none was finished
    seconds: float | None = None  # of training, the mean over trials; None where none was finished, and for an ensemble
    # its accuracy over the test subjects; None where no trial left predictions, and for an ensemble
    subjects: OverSubjects | None = None
    ensemble: str = ""  # how many trials it is the mean of; '' for a row
    inner: bool = False  # whether it was trained in folds over the training subjects, and has not read the test part


class Table(NamedTuple):
    """A data set's table."""

    dataset: str  # name in the study
    protocols: tuple[str, ...]  # of the trials
    marks: tuple[str, ...]  # of any trial: synthetic, leaky, incomplete
    compare: Mapping[str, str]  # {row: the row that it is compared with}
    selection: str  # score by which rows were chosen on the validation part
    tested: tuple[str, ...]  # `train.selection` of the trials, without that of classical models that no part validates
    lines: list[Line]  # one per row, followed by that of its ensemble where it has one


def make_tables(
    stages: Sequence[StageOutcome],
    scores: Sequence[str],
    selection: str,
    compare: Mapping[str, str],
    paper: Sequence[Sequence[Any]],
) -> list[Table]:
    """Makes the tables of all data sets of a study, with a column for each of the scores.

    Rows were chosen by the score `selection`. They are compared as {row: the row that it is compared with}, and with
    (row, data set, score, percent) as published.
    """
    outcomes = [outcome for stage in stages for outcome in stage.outcomes]
    published = {(row, dataset, score): value for row, dataset, score, value in paper}
    tables = []
    for dataset in dict.fromkeys(outcome.trial.dataset for outcome in outcomes):
        here = [outcome for outcome in outcomes if outcome.trial.dataset == dataset]
        tested = [outcome for outcome in here if not is_inner(outcome.trial)]
        results = [outcome.result for outcome in tested if outcome.result]
        rows = list(dict.fromkeys(outcome.trial.row for outcome in here))
        cells: dict[str, dict[str, Cell]] = {row: {} for row in rows}
        for score in scores:
            for row, cell in zip(rows, score_cells(tested, rows, score, compare), strict=True):
                cells[row][score] = cell._replace(paper=published.get((row, dataset, score)))
        over_subjects = dict(zip(rows, subject_statistics(tested, rows, compare), strict=True))
        lines = []
        for stage in stages:
            for row in [row.name for row in stage.stage.rows]:
                of_row = [outcome for outcome in here if outcome.trial.row == row]
                ended = [outcome.result for outcome in of_row if outcome.result]
                parameters, seconds = (
                    float(np.mean([result[key] for result in ended])) if ended else None
                    for key in ("parameters", "wall_seconds")
                )
                validation = validation_mean(here, row, selection)
                lines.append(
                    Line(
                        stage.stage.name,
                        row,
                        len(stages) > 1 and row == stage.best,
                        None if validation is None else 100 * validation,
                        cells[row],
                        len(ended),
                        len(of_row) - len(ended),
                        parameters,
                        seconds,
                        over_subjects[row],
                        inner=stage.stage.inner,
                    )
                )
                if not stage.stage.inner and (ensemble := ensemble_of(of_row)):
                    lines.append(ensemble_line(stage.stage.name, row, ensemble, scores))
        protocols = tuple(sorted({result["protocol"] for result in results}))
        marks = tuple(sorted({mark for result in results for mark in result["marks"]}))
        selections = [(result.get("selection", "best"), "validation" in result) for result in results]
        # A classical model has no epochs, and where nobody validates nothing was selected.
        states = tuple(sorted({name for name, validated in selections if validated or name != "best"}))
        tables.append(Table(dataset, protocols, marks, compare, selection, states, lines))
    return tables


def ensemble_line(stage: str, row: str, ensemble: Ensemble, scores: Sequence[str]) -> Line:
    """Returns the line of an ensemble, which has no interval, and no loss and calibration error."""
    cells = {
        score: Cell(
            Summary(ensemble.folds, ensemble.scores[score], np.nan, np.nan, np.nan)
            if score in ensemble.scores
            else None
        )
        for score in scores
    }
    name = f"{row}, ensemble of {ensemble.runs}"
    return Line(stage, name, False, None, cells, ensemble.folds, 0, ensemble.parameters, ensemble=ensemble.runs)


def subject_statistics(
    outcomes: Sequence[Outcome], rows: Sequence[str], compare: Mapping[str, str]
) -> list[OverSubjects | None]:
    """Returns the accuracy of every row over the test subjects; None for a row without predictions."""
    predicted = [outcome for outcome in outcomes if outcome.predictions]
    by_row = {row: finished(predicted, row) for row in rows}
    found, tests = [], []
    for row, trials in by_row.items():
        subjects = subjects_of(list(trials.values()))
        low, high = subject_interval(*subjects)
        found.append(OverSubjects(len(subjects.accuracy), 100 * low, 100 * high, np.nan) if trials else None)
        other = by_row.get(compare.get(row, ""), {})
        both = [key for key in trials if key in other]
        a, b = (subjects_of([of[key] for key in both]).accuracy for of in (trials, other))
        tests.append(subjects_p(a, b))
    return [line and line._replace(p=p) for line, p in zip(found, holm(tests), strict=True)]


def score_cells(outcomes: Sequence[Outcome], rows: Sequence[str], score: str, compare: Mapping[str, str]) -> list[Cell]:
    """Returns one score of every row, and its difference to the row that it is compared with."""
    by_row = {row: test_scores(outcomes, row, score) for row in rows}
    cells, tests = [], []
    for row, values in by_row.items():
        summary = summarize(list(values.values())) if values else None
        difference, p = None, np.nan
        pairs = paired(values, by_row.get(compare.get(row, ""), {}))
        if len(pairs):
            a, b = pairs.T
            difference, p = float(np.mean(a) - np.mean(b)), paired_p(a, b)
        cells.append(Cell(summary, difference))
        tests.append(p)
    corrected = holm(tests)
    return [
        cell._replace(p=p) if cell.difference is not None else cell for cell, p in zip(cells, corrected, strict=True)
    ]


def test_scores(outcomes: Sequence[Outcome], row: str, score: str) -> dict[tuple[int, int], float]:
    """Returns {(fold, seed): percent on the test part} of a row."""
    return {key: 100 * outcome.result["test"][score] for key, outcome in finished(outcomes, row).items()}
