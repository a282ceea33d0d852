"""Draws the charts of a run: curves of its metrics, calibration in bins, and accuracy by subject."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure

from dcdp_jax.calibration import Bins
from dcdp_jax.report.drawing import INK, PALETTE, Chart, Line, draw, page_style, svg_element
from dcdp_jax.runs.reading import Predictions

Record = dict[str, Any]

# {group of a step record: heading, caption, label of the vertical axis, its scale}.
GROUPS = {
    "loss": ("Terms of the training loss", "The total and its terms.", "loss", "log"),
    "S": (
        "Confidence S per window",
        "Mean probability of the true class by a branch's classifier.",
        "S / windows",
        "unit",
    ),
    "R": (
        "Confidence ratio R",
        "S of a branch over the mean S of the others. Above 1 the branch leads, and CGM slows it down.",
        "R",
        "ratio",
    ),
    "M": (
        "Modulation coefficient M",
        "Factor on a branch's gradient: 1 leaves it alone, 0 stops it. Of InfoReg, the strength of its pull.",
        "M",
        "unit",
    ),
    "gradient_norm": ("Gradient norm", "Euclidean norm over all parameters of a part.", "norm", "log"),
    "update_norm": ("Update norm", "Euclidean norm of the step that the optimizer applied.", "norm", "log"),
}


def epoch_charts(steps: Sequence[Record], epochs: Sequence[Record], best_epoch: int | None) -> list[Chart]:
    """Draws loss and scores over the epochs, from step and epoch records of `metrics.jsonl`.

    Charts without data are left out. The validation loss compares with the fusion term of the training loss. All charts
    mark the selected epoch.
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
    caption = "Cross-entropy of the fusion, and the total with all terms that training minimises."
    charts = draw("epoch-loss", "Loss", caption, loss, "epoch", "loss", "log", best_epoch)
    title, caption = "Accuracy and macro F1", "Of the model's prediction."
    return charts + draw("epoch-scores", title, caption, scores, "epoch", "per cent", mark=best_epoch)


def branch_accuracy_curve(epochs: Sequence[Record], branch: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the epochs and the accuracy in percent of a branch's own classifier on the validation set."""
    x, y = points(validation_records(epochs), "epoch", "branches", branch)
    return x, 100 * y


def diagnosis_charts(epochs: Sequence[Record], branches: Sequence[str], best_epoch: int | None) -> list[Chart]:
    """Draws the accuracy of several branches, and the cosines of the gradients in each encoder, over the epochs.

    Both come from epoch records of `metrics.jsonl`; a chart without data is left out. The charts mark the selected
    epoch, and a branch has the same colour in both.
    """
    colours = dict(zip(branches, PALETTE, strict=False))
    x, y = points(epochs, "epoch", "validation", "accuracy")
    accuracy = [Line(branch, colour, *branch_accuracy_curve(epochs, branch)) for branch, colour in colours.items()]
    accuracy += [Line("fusion", INK, x, 100 * y, True)]
    measured: list[dict[str, Any]] = [
        {"epoch": record["epoch"], **record["gradient_cosine"]} for record in epochs if record.get("gradient_cosine")
    ]
    cosines = [
        Line(f"{branch}, {others}", colour, *points(measured, "epoch", key, branch), key == "shared")
        for branch, colour in colours.items()
        for key, others in (("fusion", "fusion"), ("shared", "all shared"))
    ]
    charts: list[Chart] = []
    if len(branches) > 1 and any(np.isfinite(line.y).any() for line in accuracy[:-1]):
        title = "Accuracy of each branch"
        caption = "Of the branches' own classifiers and of the fusion, on the validation set."
        charts += draw("epoch-branches", title, caption, accuracy, "epoch", "per cent", mark=best_epoch)
    caption = (
        "Between the gradient of a branch's own loss and that of the fusion's loss, or of all losses that the branches "
        "share, in the branch's encoder. Below 0 they pull apart."
    )
    title = "Cosine of gradients"
    return charts + draw("epoch-cosines", title, caption, cosines, "epoch", "cosine", "cosine", best_epoch)


def step_charts(
    steps: Sequence[Record], epochs: Sequence[Record], branches: Sequence[str], batch_size: int | None
) -> list[Chart]:
    """Draws the terms of the loss, S, R, M and the norms of gradients and updates over the steps.

    Charts without data are left out. Validation S and R are drawn beside those of training. A branch has the same
    colour in all charts. S is the sum over a record's `windows`, or over `batch_size` windows if the record has none.
    """
    training = [mean_confidence({"windows": batch_size, **record}) for record in steps]
    validation = validation_records(epochs)
    parts = dict.fromkeys([*branches, *(key for group in GROUPS for key in _keys(training, group))])
    colours = {part: PALETTE[index % len(PALETTE)] for index, part in enumerate(parts)} | {"total": INK}
    found: list[Chart] = []
    for group, (title, caption, y_label, scale) in GROUPS.items():
        lines = [Line(key, colours[key], *points(training, "step", group, key)) for key in _keys(training, group)]
        lines += [
            Line(f"{key}, validation", colours.get(key, INK), *points(validation, "step", group, key), True)
            for key in (_keys(validation, group) if group in ("S", "R") else ())
        ]
        found += draw(f"step-{group}", title, caption, lines, "step", y_label, scale)
    return found


def _keys(records: Iterable[Record], group: str) -> list[str]:
    """Returns the names found in a group of the records, in order of first appearance."""
    return list(dict.fromkeys(key for record in records for key in record.get(group) or ()))


def epoch_means(steps: Sequence[dict[str, Any]], group: str) -> dict[int, dict[str, float]]:
    """Returns {epoch: {name: mean of the values in a group of its step records}}, in order of the epochs.

    Records are weighted by their number of steps. null is left out of a mean.
    """
    found: dict[int, dict[str, list[tuple[float, int]]]] = {}
    for record in steps:
        for name, value in record.get(group, {}).items():
            if value is not None:
                found.setdefault(record["epoch"], {}).setdefault(name, []).append((value, record.get("steps", 1)))
    means: dict[int, dict[str, float]] = {}
    for epoch, named in sorted(found.items()):
        for name, pairs in named.items():
            values, counts = zip(*pairs, strict=True)
            means.setdefault(epoch, {})[name] = float(np.average(values, weights=counts))
    return means


def validation_records(epochs: Iterable[Record]) -> list[Record]:
    """Returns the validation set of each epoch record, with `epoch`, `step` and `mean_confidence`."""
    return [
        {**mean_confidence(record.get("validation") or {}), "epoch": record["epoch"], "step": record["step"]}
        for record in epochs
    ]


def mean_confidence(record: Record) -> Record:
    """Returns the record with S divided by its number of windows, or without S if that number is not known."""
    windows = record.get("windows")
    if not windows or "S" not in record:
        return {key: value for key, value in record.items() if key != "S"}
    mean = {branch: None if value is None else value / windows for branch, value in record["S"].items()}
    return {**record, "S": mean}


def points(records: Iterable[Record], x: str, group: str, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns x and values (n,) of the records that have the key. Values that are not finite are NaN (a gap)."""
    found = [(record[x], record[group][key]) for record in records if key in (record.get(group) or ())]
    points = np.array([(at, np.nan if value is None else value) for at, value in found], float).reshape(-1, 2)
    finite = np.abs(points[:, 1]) <= np.finfo(np.float32).max
    return points[:, 0], np.where(finite, points[:, 1], np.nan)


def draw_reliability(name: str, title: str, caption: str, bins: Bins) -> Chart:
    """Draws accuracy against confidence, with the number of windows of each bin below; for the texts see `draw`."""
    filled, width = bins.windows > 0, 1 / len(bins.windows)
    edges = np.linspace(0, 1, len(bins.windows) + 1)[:-1][filled]
    with page_style():
        figure = Figure(figsize=(4.8, 4.4), layout="constrained")
        above, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
        colours: dict[str, Any] = {"color": PALETTE[0], "alpha": 0.35, "edgecolor": PALETTE[0], "linewidth": 0.8}
        above.bar(edges, bins.accuracy[filled], width, align="edge", **colours)
        above.plot([0, 1], [0, 1], color=INK, linestyle=":", linewidth=1)
        above.plot(bins.confidence[filled], bins.accuracy[filled], "o", color=PALETTE[1], markersize=4)
        above.set_ylim(0, 1.02)
        above.set_ylabel("accuracy")
        below.bar(edges, bins.windows[filled], width, align="edge", color=PALETTE[7], alpha=0.6)
        below.set_yscale("symlog", linthresh=1)
        below.set_ylim(0, 3 * bins.windows.max())
        below.yaxis.set_major_locator(ticker.FixedLocator([1, 10, 100, 1000, 10000, 100000]))
        below.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        below.yaxis.set_minor_locator(ticker.NullLocator())
        below.set_ylabel("windows")
        below.set_xlabel("confidence")
        below.set_xlim(0, 1)
        figure.align_ylabels()
        return Chart(title, caption, svg_element(figure, name, title))


def by_subject(predictions: Predictions) -> list[tuple[str, float, int]]:
    """Returns (subject, accuracy, windows), the lowest accuracy first."""
    found = [(name, float(right.mean()), len(right)) for name, right in predictions.by_subject().items()]
    return sorted(found, key=lambda row: row[1])


def draw_subjects(subjects: Sequence[tuple[str, float, int]], mean: float) -> Chart:
    """Draws a dot for each (subject, accuracy, windows), the first at the top, and a dotted line at `mean`."""
    y = np.arange(len(subjects))
    names, accuracies, windows = zip(*subjects, strict=True)
    shares = 100 * np.array(accuracies)
    with page_style():
        figure = Figure(figsize=(4.8, 0.9 + 0.24 * len(subjects)), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(100 * mean, color=INK, linestyle=":", linewidth=1)
        axes.plot(shares, y, "o", color=PALETTE[0], markersize=5)
        axes.set_yticks(y, [name if len(name) <= 16 else f"{name[:15]}…" for name in names])
        axes.set_ylim(len(subjects) - 0.5, -0.5)
        low = max(0.0, float(np.floor(shares.min() / 10) * 10) - 5)
        axes.set_xlim(low, 101)
        axes.set_xlabel("accuracy, per cent")
        counts = axes.secondary_yaxis("right")
        counts.set_yticks(y, [f"{count:,}" for count in windows])
        counts.tick_params(length=0)
        counts.spines["right"].set_visible(False)
        counts.set_ylabel("windows")
        counts.grid(visible=False)
        title = "Accuracy by subject"
        caption = "The lowest first. The dotted line is the accuracy over all test windows."
        return Chart(title, caption, svg_element(figure, "subjects", title))
