"""Draws calibration in bins, and accuracy by subject."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure

from dcdp_jax.calibration import Bins
from dcdp_jax.report.drawing import INK, PALETTE, page_style, svg_element
from dcdp_jax.runs.reading import Predictions


def draw_reliability(name: str, title: str, bins: Bins) -> str:
    """Draws accuracy against confidence, with the number of windows of each bin below."""
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
        return svg_element(figure, name, title)


def by_subject(predictions: Predictions) -> list[tuple[str, float, int]]:
    """Returns (subject, accuracy, windows), the lowest accuracy first."""
    found = [(name, float(right.mean()), len(right)) for name, right in predictions.by_subject().items()]
    return sorted(found, key=lambda row: row[1])


def draw_subjects(name: str, title: str, subjects: Sequence[tuple[str, float, int]], mean: float) -> str:
    """Draws a dot per (subject, accuracy, windows) from top to bottom, and a dotted line at the mean accuracy."""
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
        return svg_element(figure, name, title)
