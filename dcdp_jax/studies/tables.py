"""Tables of a study in Markdown, CSV and LaTeX: one per data set, a line per row."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dcdp_jax.studies.engine import Outcome, StageOutcome, validation_mean
from dcdp_jax.studies.statistics import Summary, holm, paired_p, summarize

SCORE_NAMES = {
    "accuracy": "Accuracy",
    "f1_macro": "Macro F1",
    "f1_weighted": "Weighted F1",
    "precision_macro": "Macro precision",
    "recall_macro": "Macro recall",
    "precision_weighted": "Weighted precision",
    "recall_weighted": "Weighted recall",
    "ece": "ECE",
    "loss": "Loss",
}

CSV_COLUMNS = (
    *("dataset", "protocols", "marks", "stage", "row", "chosen", "failed", "validation", "score"),
    *("n", "mean", "deviation", "low", "high", "paper", "difference", "p", "compared_with"),
)


class Cell(NamedTuple):
    """One score of one row on the test part.

    Attributes:
      summary: over seeds and folds, in percent; None where no trial came to an end.
      difference: to the mean of the row that it is compared with, over the seeds and folds that both have, in points;
        None where there is none.
      p: of the paired test against that row, corrected after Holm over the rows of the table; NaN for one pair.
      paper: the published figure in percent, or None.
    """

    summary: Summary | None
    difference: float | None = None
    p: float | None = None
    paper: float | None = None


class Line(NamedTuple):
    """One row of a table.

    Attributes:
      stage: it belongs to.
      row: name.
      best: whether it was chosen by validation in its stage.
      validation: mean of the selection score on the validation part, in percent; None where there is none.
      cells: {score: Cell}.
      failed: trials that ended with an error.
    """

    stage: str
    row: str
    best: bool
    validation: float | None
    cells: dict[str, Cell]
    failed: int


class Table(NamedTuple):
    """A data set's table.

    Attributes:
      dataset: name in the study.
      protocols: of the trials.
      marks: of any trial: synthetic, leaky, incomplete.
      compare: {row: the row that it is compared with}.
      selection: score by which epochs and rows were chosen on the validation part.
      lines: one per row.
    """

    dataset: str
    protocols: tuple[str, ...]
    marks: tuple[str, ...]
    compare: Mapping[str, str]
    selection: str
    lines: list[Line]


def make_tables(
    stages: Sequence[StageOutcome],
    scores: Sequence[str],
    selection: str,
    compare: Mapping[str, str],
    paper: Sequence[Sequence[Any]],
) -> list[Table]:
    """Tables of all data sets of a study.

    Args:
      stages: what `run_study` returned.
      scores: keys of `metrics.scores`, a column each.
      selection: the score by which rows were chosen.
      compare: {row: the row that it is compared with}.
      paper: (row, data set, score, percent) as published.
    """
    outcomes = [outcome for stage in stages for outcome in stage.outcomes]
    published = {(row, dataset, score): value for row, dataset, score, value in paper}
    tables = []
    for dataset in dict.fromkeys(outcome.trial.dataset for outcome in outcomes):
        here = [outcome for outcome in outcomes if outcome.trial.dataset == dataset]
        results = [outcome.result for outcome in here if outcome.result]
        rows = list(dict.fromkeys(outcome.trial.row for outcome in here))
        cells: dict[str, dict[str, Cell]] = {row: {} for row in rows}
        for score in scores:
            for row, cell in zip(rows, score_cells(here, rows, score, compare), strict=True):
                cells[row][score] = cell._replace(paper=published.get((row, dataset, score)))
        lines = [
            Line(
                stage.stage.name,
                row.name,
                len(stages) > 1 and row.name == stage.best,
                percent(validation_mean(here, row.name, selection)),
                cells[row.name],
                sum(outcome.result is None for outcome in here if outcome.trial.row == row.name),
            )
            for stage in stages
            for row in stage.stage.rows
        ]
        protocols = tuple(sorted({result["protocol"] for result in results}))
        marks = tuple(sorted({mark for result in results for mark in result["marks"]}))
        tables.append(Table(dataset, protocols, marks, compare, selection, lines))
    return tables


def score_cells(outcomes: Sequence[Outcome], rows: Sequence[str], score: str, compare: Mapping[str, str]) -> list[Cell]:
    """One score of every row, and its difference to the row that it is compared with."""
    by_row = {row: test_scores(outcomes, row, score) for row in rows}
    cells, tests = [], []
    for row, values in by_row.items():
        summary = summarize(list(values.values())) if values else None
        difference, p = None, np.nan
        other = by_row.get(compare.get(row, ""), {})
        if pairs := [key for key in values if key in other]:
            a, b = [values[key] for key in pairs], [other[key] for key in pairs]
            difference, p = float(np.mean(a) - np.mean(b)), paired_p(a, b)
        cells.append(Cell(summary, difference))
        tests.append(p)
    corrected = holm(tests)
    return [
        cell._replace(p=p) if cell.difference is not None else cell for cell, p in zip(cells, corrected, strict=True)
    ]


def test_scores(outcomes: Sequence[Outcome], row: str, score: str) -> dict[tuple[int, int], float]:
    """{(fold, seed): percent on the test part} of a row."""
    return {
        (outcome.trial.fold, outcome.trial.seed): 100 * outcome.result["test"][score]
        for outcome in outcomes
        if outcome.trial.row == row and outcome.result
    }


def heading(table: Table) -> str:
    """What a table says about itself."""
    marks = f" [{', '.join(table.marks)}]" if table.marks else ""
    references = ", ".join(f"«{row}»" for row in dict.fromkeys(table.compare.values()))
    compared = f"; differences and p (paired t-test, Holm) against {references}" if references else ""
    return (
        f"{table.dataset}{marks}, protocol {', '.join(table.protocols) or '-'}: test part, percent, mean ± deviation "
        f"[95 % t-interval]; epochs chosen by validation {SCORE_NAMES[table.selection]}{compared}"
    )


def columns(table: Table) -> tuple[list[str], list[list[str]]]:
    """Header and lines of a table as text."""
    scores = list(table.lines[0].cells)
    staged = any(line.stage for line in table.lines)
    with_paper = [score for score in scores if any(line.cells[score].paper is not None for line in table.lines)]
    header = [*(["Stage"] if staged else []), "Row", "n", f"Validation {SCORE_NAMES[table.selection]}"]
    for score in scores:
        header.append(SCORE_NAMES[score])
        header += ["Paper", "Ours - paper"] if score in with_paper else []
        header += ["Difference", "p"] if table.compare else []
    lines = []
    for line in table.lines:
        first = next(iter(line.cells.values())).summary
        n = str(first.n if first else 0) + (f" ({line.failed} failed)" if line.failed else "")
        text = [*([line.stage] if staged else []), line.row + (" (chosen)" if line.best else ""), n]
        text.append(number(line.validation))
        for score in scores:
            cell = line.cells[score]
            text.append(summary_text(cell.summary))
            if score in with_paper:
                text.append(number(cell.paper))
                known = cell.summary is not None and cell.paper is not None
                text.append(f"{cell.summary.mean - cell.paper:+.2f}" if known else "")  # type: ignore[union-attr, operator]
            if table.compare:
                text.append("" if cell.difference is None else f"{cell.difference:+.2f}")
                text.append("" if cell.p is None or np.isnan(cell.p) else f"{cell.p:.3f}")
        lines.append(text)
    return header, lines


def percent(share: float | None) -> float | None:
    """A share as percent."""
    return None if share is None else 100 * share


def number(value: float | None) -> str:
    """Percent, or nothing."""
    return "" if value is None else f"{value:.2f}"


def summary_text(summary: Summary | None) -> str:
    """`95.24 ± 0.44 [94.70, 95.78]`."""
    if summary is None:
        return "failed"
    if summary.n < 2:
        return f"{summary.mean:.2f}"
    return f"{summary.mean:.2f} ± {summary.deviation:.2f} [{summary.low:.2f}, {summary.high:.2f}]"


def as_markdown(table: Table) -> str:
    """A Markdown table under a line that says what it is."""
    header, lines = columns(table)
    rows = [header, ["---"] * len(header), *lines]
    body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
    return f"{heading(table)}\n\n{body}\n"


def as_csv(table: Table) -> str:
    """Numbers at full precision: a record per row and score."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for line in table.lines:
        for score, cell in line.cells.items():
            summary = cell.summary or Summary(0, np.nan, np.nan, np.nan, np.nan)
            writer.writerow(
                [
                    *(table.dataset, ";".join(table.protocols), ";".join(table.marks), line.stage, line.row),
                    *(line.best, line.failed, line.validation, score, *summary),
                    *(cell.paper, cell.difference, cell.p, table.compare.get(line.row)),
                ]
            )
    return text.getvalue()


def as_latex(table: Table) -> str:
    """A LaTeX table; needs the package booktabs."""
    header, lines = columns(table)
    body = " \\\\\n".join(" & ".join(map(latex_text, row)) for row in lines)
    return (
        f"% {heading(table)}\n\\begin{{tabular}}{{{'l' * len(header)}}}\n\\toprule\n"
        f"{' & '.join(map(latex_text, header))} \\\\\n\\midrule\n{body} \\\\\n\\bottomrule\n\\end{{tabular}}\n"
    )


def latex_text(text: str) -> str:
    """Text with LaTeX's special characters escaped."""
    for character in "\\&%$#_{}":
        text = text.replace(character, "\\textbackslash " if character == "\\" else f"\\{character}")
    return text.replace("±", "$\\pm$")
