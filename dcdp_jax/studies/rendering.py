"""Writes the tables of a study as Markdown, CSV and LaTeX."""

from collections.abc import Iterator

import numpy as np

from dcdp_jax.report.tables import SCORES, SELECTIONS
from dcdp_jax.runs import files
from dcdp_jax.runs.files import number_or_blank
from dcdp_jax.studies.statistics import Estimate, Summary
from dcdp_jax.studies.tables import Line, Table

SCORE_NAMES = SCORES | {"loss": "Loss (not in percent)"}
CSV_COLUMNS = (
    *("dataset", "protocols", "marks", "stage", "row", "chosen", "failed", "validation", "score"),
    *("n", "mean", "deviation", "low", "high", "paper", "difference", "difference_low", "difference_high"),
    *("p", "compared_with"),
    *("parameters", "seconds", "ensemble", "subjects", "subjects_low", "subjects_high", "subjects_p"),
)
LATEX = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"\\": "\\textbackslash ", "±": "$\\pm$", "<": "$<$", ">": "$>$"}  # text fonts have other signs at < and >
    | {"^": "\\^{}", "~": "\\~{}"}
)


def heading(table: Table) -> str:
    """Returns the line above a table, which explains its numbers."""
    references = ", ".join(f'"{row}"' for row in dict.fromkeys(table.compare.values()))
    parts = [
        f"{table.dataset}{files.marks_suffix(table.marks)}, protocol {', '.join(table.protocols) or '-'}: test set, "
        "percent, mean ± standard deviation [95 % t-interval] over "
        + ("the folds of n trials, each the mean of its seeds" if table.folded else "n seeds")
    ]
    if table.fingerprints > 1:
        parts.append(f"the trials do not have the same data, but {table.fingerprints} different data_fingerprint")
    if table.unpredicted:
        parts.append(f"{table.unpredicted} without predictions.csv are left out of ensembles, 95 % and p (subjects)")
    if table.tested:
        parts.append(f"tested is {', and '.join(SELECTIONS[tested] for tested in table.tested)}")
    by_subject = has_subjects(table)
    if by_subject:
        parts.append("95 % (subjects): bootstrap interval of the accuracy over the people tested")
    if references:
        tests = f"p ({unit_of(table)}), paired t-test" + (
            ", and p (subjects), sign-flip test of the accuracy," * by_subject
        )
        parts.append(
            f"differences in points [95 % paired t-interval] and {tests} against {references}, p with Holm correction "
            "over the rows"
        )
    if any(line.ensemble for line in table.lines):
        parts.append("ensemble: mean of the probabilities of the seeds of a fold")
    if any(line.inner for line in table.lines):
        parts.append("validation of rows without test scores: on held-out folds of the training subjects")
    return "; ".join(parts)


def unit_of(table: Table) -> str:
    """Returns `folds` or `seeds`: what the means, intervals and t-tests of a table are over."""
    return "folds" if table.folded else "seeds"


def has_subjects(table: Table) -> bool:
    """Returns whether some row of a table was tested on several people."""
    return any(line.subjects is not None and line.subjects.n > 1 for line in table.lines)


def columns(table: Table) -> tuple[list[str], list[list[str]]]:
    """Returns the header and the lines of a table as text."""
    lines = [list(named_cells(line, table)) for line in table.lines]
    return [column for column, _ in lines[0]], [[text for _, text in line] for line in lines]


def named_cells(line: Line, table: Table) -> Iterator[tuple[str, str]]:
    """Yields (column, text) of a line; all lines of a table have the same columns."""
    if any(other.stage for other in table.lines):
        yield "Stage", line.stage
    yield "Row", line.row + (" (chosen)" if line.best else "")
    yield "n", str(line.finished) + (f" ({line.failed} failed)" if line.failed else "")
    yield "Parameters", number_or_blank(line.parameters, ",.0f")
    yield "Seconds of training", number_or_blank(line.seconds, ",.0f")
    yield f"Validation {SCORE_NAMES[table.selection]}", number_or_blank(line.validation)
    for score, cell in line.cells.items():
        summary, paper = cell.summary, cell.paper
        yield SCORE_NAMES[score], "" if summary is None and (line.ensemble or line.inner) else summary_text(summary)
        if any(other.cells[score].paper is not None for other in table.lines):
            yield "Paper", number_or_blank(paper)
            yield (
                "Ours - paper",
                number_or_blank(None if summary is None or paper is None else summary.mean - paper, "+.2f"),
            )
        if table.compare:
            yield "Difference", interval_text(cell.difference)
            yield f"p ({unit_of(table)})", p_text(cell.p)
    if has_subjects(table):
        over = line.subjects
        yield "95 % (subjects)", f"[{over.low:.2f}, {over.high:.2f}]" if over and over.n > 1 else ""
        if table.compare:
            yield "p (subjects)", p_text(over and over.p)


def summary_text(summary: Summary | None) -> str:
    """Formats a summary as `95.24 ± 0.44 [94.70, 95.78]`; the mean only without an interval, and `failed` for None."""
    if summary is None:
        return "failed"
    if np.isnan(summary.deviation):
        return f"{summary.mean:.2f}"
    return f"{summary.mean:.2f} ± {summary.deviation:.2f} [{summary.low:.2f}, {summary.high:.2f}]"


def interval_text(interval: Estimate | None, decimals: int = 2) -> str:
    """Formats an interval as `+1.20 [0.40, 2.00]`; without bounds only the value, and for None an empty string."""
    if interval is None:
        return ""
    bounds = "" if np.isnan(interval.low) else f" [{interval.low:.{decimals}f}, {interval.high:.{decimals}f}]"
    return f"{interval.value:+.{decimals}f}{bounds}"


def p_text(p: float | None) -> str:
    """Formats a p-value as `0.092` or `< 0.001`; None and NaN give an empty string."""
    return "< 0.001" if p is not None and p < 0.0005 else number_or_blank(p, ".3f")


def as_markdown(table: Table) -> str:
    """Returns a Markdown table below its heading."""
    return f"{heading(table)}\n\n{files.markdown_table(*columns(table))}\n"


def as_csv(table: Table) -> str:
    """Returns a record per row and score, with the numbers at full precision."""
    rows = []
    for line in table.lines:
        for score, cell in line.cells.items():
            summary = cell.summary or Summary(0, np.nan, np.nan, np.nan, np.nan)
            rows.append(
                [
                    *(table.dataset, ";".join(table.protocols), ";".join(table.marks), line.stage, line.row),
                    *(line.best, line.failed, line.validation, score, *summary),
                    *(cell.paper, *(cell.difference or (None,) * 3), cell.p, table.compare.get(line.row)),
                    *(line.parameters, line.seconds, line.ensemble),
                    *(line.subjects if line.subjects and score == "accuracy" else (None,) * 4),
                ]
            )
    return files.as_csv(CSV_COLUMNS, rows)


def as_latex(table: Table) -> str:
    """Returns a LaTeX table, which needs the package booktabs."""
    header, lines = columns(table)
    first, *rest = (" & ".join(text.translate(LATEX) for text in row) for row in [header, *lines])
    return (
        f"% {heading(table)}\n\\begin{{tabular}}{{{'l' * len(header)}}}\n\\toprule\n"
        f"{first} \\\\\n\\midrule\n" + " \\\\\n".join(rest) + " \\\\\n\\bottomrule\n\\end{tabular}\n"
    )
