"""Draws the curves of a run from the records of its metrics."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from dcdp_jax.report.drawing import INK, PALETTE, Line, draw
from dcdp_jax.report.loss_terms import epoch_means

Record = dict[str, Any]

GROUPS = {
    "loss": ("Terms of the training loss", "The total and its terms.", "loss", "log"),
    "S": (
        "Confidence S per window",
        "Mean probability that a branch's own classifier gives to the true class.",
        "S / windows",
        "unit",
    ),
    "R": (
        "Confidence ratio R",
        "S of a branch over the mean S of the others. Above 1 the branch leads, and CGM slows it down.",
        "R",
        "ratio",
    ),
    "M": ("Modulation coefficient M", "Factor on a branch's gradient: 1 leaves it alone, 0 stops it.", "M", "unit"),
    "gradient_norm": ("Gradient norm", "Euclidean norm over all parameters of a part.", "norm", "log"),
    "update_norm": (
        "Update norm",
        "Euclidean norm of the step that was really applied, after the optimizer.",
        "norm",
        "log",
    ),
}


class Chart(NamedTuple):
    """A finished chart: its heading, a sentence on how to read it, and the SVG element."""

    title: str
    caption: str
    svg: str


def epoch_charts(steps: Sequence[Record], epochs: Sequence[Record], best_epoch: int | None) -> list[Chart]:
    """Draws loss and scores over the epochs, from step and epoch records of `metrics.jsonl`, where there are data.

    The fusion term of the steps is what compares with the validation loss. All charts mark the selected epoch.
    """
    means = [{"epoch": epoch, "train": terms} for epoch, terms in epoch_means(steps, "loss").items()]
    loss = [Line("training, total", INK, *points(epochs, "epoch", "train", "loss"))]
    loss += [Line("training, fusion", PALETTE[0], *points(means, "epoch", "train", "fusion"))]
    loss += [Line("validation, fusion", PALETTE[1], *points(epochs, "epoch", "validation", "loss"), True)]
    scores = []
    for label, part, key, colour in (
        ("training accuracy", "train", "accuracy", PALETTE[0]),
        ("training macro F1", "train", "f1_macro", PALETTE[2]),
        ("validation accuracy", "validation", "accuracy", PALETTE[1]),
        ("validation macro F1", "validation", "f1_macro", PALETTE[3]),
    ):
        x, y = points(epochs, "epoch", part, key)
        scores.append(Line(label, colour, x, 100 * y, part == "validation"))
    mark = "" if best_epoch is None else f" The dotted line marks the selected epoch, {best_epoch}."
    charts = [
        Chart(
            "Loss",
            "Cross-entropy of the fusion, and the total with all terms that training minimises." + mark,
            draw("epoch-loss", "Loss", loss, "epoch", "loss", "log", best_epoch),
        ),
        Chart(
            "Accuracy and macro F1",
            "Of the model's prediction." + mark,
            draw("epoch-scores", "Accuracy and macro F1", scores, "epoch", "per cent", mark=best_epoch),
        ),
    ]
    return [chart for chart in charts if chart.svg]


def step_charts(
    steps: Sequence[Record], epochs: Sequence[Record], branches: Sequence[str], batch_size: int | None
) -> list[Chart]:
    """Draws the terms of the loss, S, R, M and the norms of gradients and updates over the steps, where there are data.

    Validation S and R are drawn beside those of training. Each branch keeps its colour through all charts. S was summed
    over `batch_size` windows in a step whose record does not say over how many.
    """
    training = [mean_confidence({"windows": batch_size, **record}) for record in steps]
    validation = validation_records(epochs)
    parts = dict.fromkeys([*branches, *(key for group in GROUPS for key in _keys(training, group))])
    colours = {part: PALETTE[index % len(PALETTE)] for index, part in enumerate(parts)} | {"total": INK}
    found = []
    for group, (title, caption, y_label, scale) in GROUPS.items():
        lines = [Line(key, colours[key], *points(training, "step", group, key)) for key in _keys(training, group)]
        lines += [
            Line(f"{key}, validation", colours.get(key, INK), *points(validation, "step", group, key), True)
            for key in (_keys(validation, group) if group in ("S", "R") else ())
        ]
        found.append(Chart(title, caption, draw(f"step-{group}", title, lines, "step", y_label, scale)))
    return [chart for chart in found if chart.svg]


def _keys(records: Iterable[Record], group: str) -> list[str]:
    """Returns the names found in a group of the records, in order of first appearance."""
    return list(dict.fromkeys(key for record in records for key in record.get(group) or ()))


def validation_records(epochs: Iterable[Record]) -> list[Record]:
    """Returns what each epoch record says of the validation part, with the epoch, the step and the mean of S."""
    return [
        {**mean_confidence(record.get("validation") or {}), "epoch": record["epoch"], "step": record["step"]}
        for record in epochs
    ]


def mean_confidence(record: Record) -> Record:
    """Returns the record with S divided by the number of windows that it was summed over."""
    windows = record.get("windows")
    if not windows or "S" not in record:
        return {key: value for key, value in record.items() if key != "S"}
    mean = {branch: None if value is None else value / windows for branch, value in record["S"].items()}
    return {**record, "S": mean}


def points(records: Iterable[Record], x: str, group: str, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the x and the values of the records that have the key; values that are not finite are NaN, a gap."""
    found = [(record[x], record[group][key]) for record in records if key in (record.get(group) or ())]
    points = np.array([(at, np.nan if value is None else value) for at, value in found], float).reshape(-1, 2)
    finite = np.abs(points[:, 1]) <= np.finfo(np.float32).max
    return points[:, 0], np.where(finite, points[:, 1], np.nan)
