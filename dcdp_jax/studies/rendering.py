"""Writes the tables of a study as Markdown, CSV and LaTeX."""

from collections.abc import Iterable, Sequence

import numpy as np

from dcdp_jax.runs import files
from dcdp_jax.studies.statistics import Summary
from dcdp_jax.studies.tables import Table

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
    *("parameters", "seconds", "ensemble", "subjects", "subjects_low", "subjects_high", "subjects_p"),
)
# What `train.selection` of a run says was tested.
TESTED = {
    "best": "the epoch that validation macro F1 chose",
    "last": "the last epoch",
    "ema": "the average of the parameters after the last epoch",
}


def heading(table: Table) -> str:
    """Returns the line above a table: what its numbers are."""
    marks = f" [{', '.join(table.marks)}]" if table.marks else ""
    references = ", ".join(f"«{row}»" for row in dict.fromkeys(table.compare.values()))
    parts = [
        f"{table.dataset}{marks}, protocol {', '.join(table.protocols) or '-'}: test part, percent, mean ± standard "
        f"deviation [95 % t-interval] over n seeds and folds"
    ]
    if table.tested:
        parts.append(f"tested is {', and '.join(TESTED[tested] for tested in table.tested)}")
    by_subject = has_subjects(table)
    if by_subject:
        parts.append("95 % (subjects): bootstrap interval of the accuracy over the people tested")
    if references:
        tests = "p (seeds), paired t-test" + (", and p (subjects), sign-flip test of the accuracy," * by_subject)
        parts.append(f"differences and {tests} against {references}, corrected after Holm")
    if any(line.ensemble for line in table.lines):
        parts.append("ensemble: mean of the probabilities of the seeds of a fold")
    if any(line.inner for line in table.lines):
        parts.append("validation of rows without test scores: on held-out folds of the training subjects")
    return "; ".join(parts)


def has_subjects(table: Table) -> bool:
    """Returns whether some row of a table was tested on several people."""
    return any(line.subjects is not None and line.subjects.n > 1 for line in table.lines)


def columns(table: Table) -> tuple[list[str], list[list[str]]]:
    """Returns the header and the lines of a table as text."""
    scores = list(table.lines[0].cells)
    staged = any(line.stage for line in table.lines)
    with_paper = [score for score in scores if any(line.cells[score].paper is not None for line in table.lines)]
    by_subject = has_subjects(table)
    header = [*(["Stage"] if staged else []), "Row", "n", "Parameters", "Seconds of training"]
    header.append(f"Validation {SCORE_NAMES[table.selection]}")
    for score in scores:
        header.append(SCORE_NAMES[score])
        header += ["Paper", "Ours - paper"] if score in with_paper else []
        header += ["Difference", "p (seeds)"] if table.compare else []
    if by_subject:
        header += ["95 % (subjects)", *(["p (subjects)"] if table.compare else [])]
    lines = []
    for line in table.lines:
        n = str(line.finished) + (f" ({line.failed} failed)" if line.failed else "")
        text = [*([line.stage] if staged else []), line.row + (" (chosen)" if line.best else ""), n]
        text += ["" if size is None else f"{size:,.0f}" for size in (line.parameters, line.seconds)]
        text.append(number(line.validation))
        for score in scores:
            cell = line.cells[score]
            text.append("" if cell.summary is None and (line.ensemble or line.inner) else summary_text(cell.summary))
            if score in with_paper:
                text.append(number(cell.paper))
                known = cell.summary is not None and cell.paper is not None
                text.append(f"{cell.summary.mean - cell.paper:+.2f}" if known else "")  # type: ignore[union-attr, operator]
            if table.compare:
                text.append("" if cell.difference is None else f"{cell.difference:+.2f}")
                text.append("" if cell.p is None or np.isnan(cell.p) else f"{cell.p:.3f}")
        if by_subject:
            over = line.subjects
            text.append("" if over is None or over.n < 2 else f"[{over.low:.2f}, {over.high:.2f}]")
            if table.compare:
                text.append("" if over is None or np.isnan(over.p) else f"{over.p:.3f}")
        lines.append(text)
    return header, lines


def number(value: float | None) -> str:
    """Returns a number with two decimals, and nothing for None."""
    return "" if value is None else f"{value:.2f}"


def summary_text(summary: Summary | None) -> str:
    """Returns `95.24 ± 0.44 [94.70, 95.78]`, or the mean alone where there is no interval."""
    if summary is None:
        return "failed"
    if np.isnan(summary.deviation):
        return f"{summary.mean:.2f}"
    return f"{summary.mean:.2f} ± {summary.deviation:.2f} [{summary.low:.2f}, {summary.high:.2f}]"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def as_markdown(table: Table) -> str:
    """Returns a Markdown table under a line that says what it is."""
    return f"{heading(table)}\n\n{markdown_table(*columns(table))}\n"


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
                    *(cell.paper, cell.difference, cell.p, table.compare.get(line.row)),
                    *(line.parameters, line.seconds, line.ensemble),
                    *(line.subjects if line.subjects and score == "accuracy" else (None,) * 4),
                ]
            )
    return files.as_csv(CSV_COLUMNS, rows)


def as_latex(table: Table) -> str:
    """Returns a LaTeX table, which needs the package booktabs."""
    header, lines = columns(table)
    body = " \\\\\n".join(" & ".join(map(latex_text, row)) for row in lines)
    return (
        f"% {heading(table)}\n\\begin{{tabular}}{{{'l' * len(header)}}}\n\\toprule\n"
        f"{' & '.join(map(latex_text, header))} \\\\\n\\midrule\n{body} \\\\\n\\bottomrule\n\\end{{tabular}}\n"
    )


def latex_text(text: str) -> str:
    """Escapes LaTeX's special characters."""
    for character in "\\&%$#_{}":
        text = text.replace(character, "\\textbackslash " if character == "\\" else f"\\{character}")
    return text.replace("±", "$\\pm$")
