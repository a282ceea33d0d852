"""Makes the tables of the pages; the templates write them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dcdp_jax.report.page import number, percent, signed

# Titles of the scores of `metrics.scores`, and of `ece`.
SCORES = {
    "accuracy": "Accuracy",
    "precision_macro": "Macro precision",
    "recall_macro": "Macro recall",
    "f1_macro": "Macro F1",
    "precision_weighted": "Weighted precision",
    "recall_weighted": "Weighted recall",
    "f1_weighted": "Weighted F1",
    "ece": "Expected calibration error",
}
SPLITS = ("train", "validation", "test")
# Description of the tested state by `train.selection`.
SELECTIONS = {
    "best": "the epoch with the best macro F1 on the validation set",
    "last": "the last epoch",
    "ema": "the exponential moving average of the weights after the last epoch",
    None: "none, because the model was fitted once",
}


class Table(NamedTuple):
    """A table whose first column names the rows."""

    head: Sequence[str]  # column titles, or nothing for a table without a head
    rows: Sequence[Sequence[Any]]  # one JSON value per column; null is written as n/a
    style: str = "numbers"  # CSS class: `numbers` aligns right, `texts` left


class Shaded(NamedTuple):
    """A table whose cells are shaded by the size of their numbers."""

    corner: str  # what rows and columns are
    columns: Sequence[str]  # title of each column
    # title of each row, and (text, depth of colour from 0 to 1, hint) of its cells
    rows: Sequence[tuple[str, Sequence[tuple[str, float, str]]]]


def selection(result: Mapping[str, Any]) -> str:
    """Returns the description of how the tested state was selected."""
    return SELECTIONS[result.get("selection", "best")]


def score_table(result: Mapping[str, Any]) -> Table:
    """Returns the scores in per cent and the loss on the validation set, if there is one, and on the test set."""
    columns = {"Validation": result.get("validation"), "Test": result["test"]}
    parts = {title: scores for title, scores in columns.items() if scores is not None}
    rows = [[label, *(percent(part[key]) for part in parts.values())] for key, label in SCORES.items()]
    loss = ["Loss (not in per cent)", *(number(part["loss"], "{:.4f}") for part in parts.values())]
    return Table(["%", *parts], [*rows, loss])


def confusion_table(result: Mapping[str, Any]) -> Shaded:
    """Returns the confusion matrix: its counts, with each row's shares as the depth of colour."""
    names = result["class_names"]
    rows = []
    for name, counts in zip(names, result["confusion"], strict=True):
        shares = [count / max(sum(counts), 1) for count in counts]
        cells = [
            (str(count), share, f"{name} predicted as {predicted}: {100 * share:.1f} %")
            for predicted, count, share in zip(names, counts, shares, strict=True)
        ]
        rows.append((name, cells))
    return Shaded("true ↓ \xa0 predicted →", names, rows)


def calibration_table(calibration: Mapping[str, Any]) -> Table:
    """Returns the accuracy of each test subject before and after the adaptation of calibration.json, and of all."""
    columns = ("windows", "calibration_windows", "before", "after")
    rows = [[name, *(row[column] for column in columns)] for name, row in calibration["subjects"].items()]
    totals = [sum(row[i] for row in rows) for i in (1, 2)]
    rows.append(["all", *totals, *(calibration[name]["accuracy"] for name in ("before", "after"))])
    return Table(
        ["Subject", "Windows tested", "Windows to adapt", "Before, %", "After, %", "Difference"],
        [[*row[:3], percent(row[3]), percent(row[4]), signed(row[4] - row[3])] for row in rows],
    )


def split_table(windows: Mapping[str, int], subjects: Mapping[str, Sequence[int | str]]) -> Table:
    """Returns the windows and the subjects of every split."""
    rows = []
    for part in dict.fromkeys([*SPLITS, *windows]):
        names = subjects.get(part, ())
        rows.append([part, number(windows.get(part), "{:,}"), len(names), ", ".join(map(str, names))])
    return Table(["Part", "Windows", "Subjects", "Which"], rows, "texts")
