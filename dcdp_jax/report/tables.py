"""Writes the tables of the pages as HTML; every text that comes from a file is escaped here."""

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

SCORES = {
    "accuracy": "Accuracy",
    "precision_macro": "Precision, macro",
    "recall_macro": "Recall, macro",
    "f1_macro": "F1, macro",
    "precision_weighted": "Precision, weighted",
    "recall_weighted": "Recall, weighted",
    "f1_weighted": "F1, weighted",
    "ece": "Expected calibration error",
}
SPLITS = ("train", "validation", "test")
SELECTIONS = {
    "best": "best macro F1 on the validation part",
    "last": "last epoch",
    "ema": "exponential moving average of the weights after the last epoch",
}
ABSENT = "n/a"


def text(value: object) -> str:
    """Writes any JSON value for a reader: strings as they are, n/a for null, JSON for the rest."""
    if value is None:
        return ABSENT
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def number(value: object, pattern: str) -> str:
    """Writes a number by a format pattern, or n/a where there is none."""
    return pattern.format(value) if isinstance(value, int | float) else ABSENT


def percent(value: object) -> str:
    """Writes a share of one in per cent with two decimals, or n/a where there is none."""
    return f"{100 * value:.2f}" if isinstance(value, int | float) else ABSENT


def signed(value: float) -> str:
    """Writes a difference of shares in points, with its sign."""
    return f"{100 * value:+.2f}".replace("-", "\N{MINUS SIGN}")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], style: str = "numbers") -> str:
    """Writes a table whose first column names the rows.

    Args:
      head: column titles, or nothing for a table without a head.
      rows: one text per column; escaped here.
      style: class of the table: `numbers` aligns right, `texts` left.

    Returns:
      The table in a box that scrolls where the page is too narrow.
    """
    columns = "".join(f'<th scope="col">{escape(title)}</th>' for title in head)
    body = ""
    for first, *rest in rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        body += f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>\n'
    top = f"<thead><tr>{columns}</tr></thead>\n" if head else ""
    return _scrolling(f'<table class="{style}">\n{top}<tbody>\n{body}</tbody></table>')


def score_table(result: Mapping[str, Any]) -> str:
    """Writes every score on validation, where there is such a part, and on test, in per cent, and the loss."""
    columns = {"Validation": result.get("validation"), "Test": result["test"]}
    parts = [part for part in columns.values() if part is not None]
    rows = [[label, *(percent(part.get(key)) for part in parts)] for key, label in SCORES.items()]
    loss = ["Loss (not in per cent)", *(number(part.get("loss"), "{:.4f}") for part in parts)]
    titles = [title for title, part in columns.items() if part is not None]
    return table(["%", *titles], [*rows, loss])


def branch_table(result: Mapping[str, Any]) -> str:
    """Writes the test accuracy of each branch's own classifier beside that of the fusion."""
    rows = [[branch, percent(accuracy)] for branch, accuracy in result["branches"].items()]
    return table(["%", "Test accuracy"], [*rows, ["Fusion (the prediction)", percent(result["test"].get("accuracy"))]])


def class_scores(confusion: Sequence[Sequence[int]]) -> np.ndarray:
    """Computes scores per class, equal to scikit-learn's with `zero_division=0`.

    Args:
      confusion: (k, k) windows by true class (rows) and predicted class (columns).

    Returns:
      (k, 4): precision, recall, F1 and support.
    """
    counts = np.array(confusion, float).reshape(len(confusion), len(confusion))
    hits, support, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    ratios = ((hits, predicted), (hits, support), (2 * hits, predicted + support))
    return np.stack([*(above / np.maximum(below, 1) for above, below in ratios), support], axis=-1)


def class_table(names: Sequence[object], confusion: Sequence[Sequence[int]]) -> str:
    """Writes precision, recall, F1 and support of every class."""
    rows = [
        [text(name), *map(percent, scores), f"{support:,.0f}"]
        for name, (*scores, support) in zip(names, class_scores(confusion).tolist(), strict=True)
    ]
    return table(["%", "Precision", "Recall", "F1", "Windows"], rows)


def confusion_table(names: Sequence[object], confusion: Sequence[Sequence[int]]) -> str:
    """Writes the confusion matrix: counts printed, each row's shares as the depth of colour."""
    labels = list(map(text, names))
    rows = []
    for label, counts in zip(labels, confusion, strict=True):
        shares = [count / max(sum(counts), 1) for count in counts]
        rows.append(
            [
                (str(count), share, f"{label} predicted as {predicted}: {100 * share:.1f} %")
                for predicted, count, share in zip(labels, counts, shares, strict=True)
            ]
        )
    return shaded_table("true ↓ \xa0 predicted →", labels, labels, rows)


def shaded_table(
    corner: str, columns: Sequence[str], labels: Sequence[str], rows: Sequence[Sequence[tuple[str, float, str]]]
) -> str:
    """Writes a table whose cells are shaded by the size of their numbers.

    Args:
      corner: what rows and columns are.
      columns: title of each column; they stand upright.
      labels: title of each row.
      rows: (text, depth of colour from 0 to 1, hint) of every cell; all is escaped here.

    Returns:
      The table in a box that scrolls where the page is too narrow.
    """
    head = "".join(f'<th scope="col"><span>{escape(title)}</span></th>' for title in columns)
    body = ""
    for label, cells in zip(labels, rows, strict=True):
        body += f'<tr><th scope="row">{escape(label)}</th>'
        for content, depth, hint in cells:
            shade = f' style="--share:{depth:.3f}"' if depth else ' class="zero"'
            body += f'<td{shade} title="{escape(hint)}">{escape(content)}</td>'
        body += "</tr>\n"
    top = f"<thead><tr><th>{escape(corner)}</th>{head}</tr></thead>"
    return _scrolling(f'<table class="confusion">\n{top}\n<tbody>\n{body}</tbody></table>')


def split_table(result: Mapping[str, Any]) -> str:
    """Writes the windows and the subjects of every part."""
    rows = []
    for split in SPLITS:
        subjects = result["subjects"].get(split)
        known = isinstance(subjects, list)
        listed = ", ".join(map(text, subjects)) if known else text(subjects)
        windows = number(result["windows"].get(split), "{:,}")
        rows.append([split, windows, str(len(subjects)) if known else ABSENT, listed])
    return table(["Part", "Windows", "Subjects", "Which"], rows, "texts")


def config_table(config: Mapping[str, Any]) -> str:
    """Writes the nested configuration with dotted names, as the command line takes them."""
    return table(["Field", "Value"], [[field, text(value)] for field, value in flat(config)], "texts")


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yields (dotted name, value) of every field of a nested configuration."""
    for key, value in config.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _scrolling(inner: str) -> str:
    return f'<div class="scroll" tabindex="0">{inner}</div>'
