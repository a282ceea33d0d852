"""Figures of a study, as SVG and PNG: scores per row, confusion matrices, modulation and branches over the epochs."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dcdp_jax.report.charts import branch_accuracy_curve, epoch_means
from dcdp_jax.report.drawing import FIGURE_STYLE, PALETTE, save_figure
from dcdp_jax.studies.grid import is_inner, slug
from dcdp_jax.studies.oracle import Oracles, Runs, alone_runs, joint_rows
from dcdp_jax.studies.outcomes import Outcome, StageOutcome, by_dataset, finished, folder_of, metrics_of
from dcdp_jax.studies.tables import test_scores

FIGURES = "figures"
COLOURS = PALETTE[:4]
GREY = "#9aa1a9"
M_SHOWN = (-1.0, 3.0)  # CGGM's coefficients are not bounded; those of the other methods lie within
QUANTITIES = {"M": "M", "R": "R (dashed: validation)", "update_norm": "norm of the update"}
Curve = dict[str, np.ndarray]


def draw_figures(
    stages: Sequence[StageOutcome], shown: str, compare: Mapping[str, str], oracles: Oracles, workdir: Path
) -> list[Path]:
    """Draws all figures for which there are results into `figures/`; returns the SVG files, each with a PNG beside it.

    The confusion matrices are those of the row `shown`, or if it is '', of the best row of the last stage. For
    `compare` and `oracles` see `oracle.hindrances_of`.
    """
    outcomes = [outcome for stage in stages for outcome in stage.outcomes if outcome.result]
    chosen = shown or stages[-1].best
    paths = []
    with matplotlib.rc_context(FIGURE_STYLE):
        for dataset, here in by_dataset(outcomes).items():
            figures = {
                "modulation": draw_modulation(here, workdir),
                "branches": draw_branches(here, compare, oracles, workdir),
            }
            if any(not is_inner(outcome.trial) for outcome in here):
                figures["scores"] = draw_scores(here, stages)
            if of_row := [outcome for outcome in here if outcome.trial.row == chosen]:
                figures["confusion"] = draw_confusion(of_row)
            for kind, figure in figures.items():
                if figure is not None:
                    paths.append(save_figure(figure, workdir / FIGURES / f"{slug(dataset)}-{kind}", dpi=150))
    return paths


def draw_scores(outcomes: Sequence[Outcome], stages: Sequence[StageOutcome]) -> Figure:
    """Draws box plots of the test accuracy per row, grouped by stage, with a point for every trial."""
    rows = [(stage.stage.name, row.name) for stage in stages for row in stage.stage.rows if not stage.stage.inner]
    values = {name: list(test_scores(outcomes, name, "accuracy").values()) for _, name in rows}
    figure = Figure(figsize=(6.5, 0.7 + 0.24 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    stage_names = list(dict.fromkeys(stage for stage, _ in rows))
    for place, (stage, name) in enumerate(rows):
        colour = COLOURS[stage_names.index(stage) % len(COLOURS)]
        if values[name]:
            drawn = axes.boxplot(
                [values[name]], positions=[place], orientation="horizontal", widths=0.6, showfliers=False
            )
            for line in itertools.chain(*drawn.values()):
                line.set_color(colour)
            axes.plot(values[name], np.full(len(values[name]), place), ".", color=colour, markersize=4, alpha=0.7)
    axes.set_yticks(range(len(rows)), [f"{stage}: {name}" if stage else name for stage, name in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(f"{outcomes[0].trial.dataset}: test accuracy, %")
    axes.grid(axis="x", linewidth=0.5)
    return figure


def draw_confusion(outcomes: Sequence[Outcome]) -> Figure:
    """Draws the confusion matrix of one row over all its trials, in percent of the true class."""
    results = [outcome.result for outcome in outcomes if outcome.result]
    counts = np.sum([result["confusion"] for result in results], axis=0)
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names, k = results[0]["class_names"], len(counts)
    size = 1.6 + 0.34 * k
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for i, j in np.argwhere(shares >= 0.5):
        colour = "white" if shares[i, j] > 60 else "black"
        axes.text(j, i, f"{shares[i, j]:.0f}", ha="center", va="center", color=colour, fontsize=7)
    axes.set_xticks(range(k), names, rotation=90)
    axes.set_yticks(range(k), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"{outcomes[0].trial.dataset}, {outcomes[0].trial.row}\n% of the true class, n = {len(results)}")
    axes.spines[:].set_visible(True)
    return figure


def draw_modulation(outcomes: Sequence[Outcome], workdir: Path) -> Figure | None:
    """Draws M, R and the update norm of each branch over the epochs, a line of panels per row; None without R."""
    rows = {}
    for row in dict.fromkeys(outcome.trial.row for outcome in outcomes):
        curves = [read_curves(folder_of(o.trial, workdir)) for o in outcomes if o.trial.row == row]
        if curves and curves[0]["R"]:
            rows[row] = curves
    if not rows:
        return None
    figure = Figure(figsize=(7.5, 0.5 + 1.15 * len(rows)), layout="constrained")
    panels = figure.subplots(len(rows), len(QUANTITIES), sharex=True, sharey="col", squeeze=False)
    values = [values for curves in rows.values() for curve in curves for values in curve["M"].values()]
    reached = np.concatenate([*values, [0.0, 1.0]])
    low, high = np.clip((np.nanmin(reached), np.nanmax(reached)), *M_SHOWN)
    for line, (row, curves) in zip(panels, rows.items(), strict=True):
        for axes, (quantity, label) in zip(line, QUANTITIES.items(), strict=True):
            plot_branches(axes, [c[quantity] for c in curves], "-")
            if quantity == "R":
                plot_branches(axes, [c["validation R"] for c in curves], "--")
            if row == next(iter(rows)):
                axes.set_title(label, fontsize=8)
            axes.grid(linewidth=0.4)
        line[0].set_ylabel(row.replace(", ", "\n"), fontsize=7)
        line[0].set_ylim(low - 0.05, high + 0.05)
        line[2].set_yscale("log")
        line[2].yaxis.set_minor_formatter(ticker.NullFormatter())
        line[0].xaxis.set_major_locator(ticker.MaxNLocator(nbins=6, integer=True))
    for axes in panels[-1]:
        axes.set_xlabel("epoch")
    branches = list(next(iter(rows.values()))[0]["R"])
    styles = {branch: ("-", COLOURS[i % len(COLOURS)]) for i, branch in enumerate(branches)}
    add_legend(figure, styles, f"{outcomes[0].trial.dataset}: means over the trials, range shaded")
    return figure


def draw_branches(
    outcomes: Sequence[Outcome], compare: Mapping[str, str], oracles: Oracles, workdir: Path
) -> Figure | None:
    """Draws the validation accuracy of each branch over the epochs, trained with the others and alone.

    Each reference of an oracle has a line of panels, one for each branch. Returns None without a validation set, and
    if no branch was trained alone.
    """
    panels: dict[tuple[str, str], dict[str, list[np.ndarray]]] = {}
    for reference, rows in oracles.items():
        for branch, single in alone_runs(outcomes, rows).items():
            curves = {"alone": curves_of(single, branch, workdir)}
            for row in joint_rows(reference, compare):
                curves[row] = curves_of(finished(outcomes, row), branch, workdir)
            if curves["alone"] and curves[reference]:
                panels[reference, branch] = curves
    return draw_branch_panels(outcomes[0].trial.dataset, panels) if panels else None


def curves_of(runs: Runs, branch: str, workdir: Path) -> list[np.ndarray]:
    """Returns the validation accuracy in percent (epochs,) of a branch's own classifier in each run that has it."""
    curves = [branch_accuracy_curve(metrics_of(folder_of(run.trial, workdir))[1], branch)[1] for run in runs.values()]
    return [curve for curve in curves if len(curve)]


def draw_branch_panels(dataset: str, panels: Mapping[tuple[str, str], Mapping[str, Sequence[np.ndarray]]]) -> Figure:
    """Draws a panel for each (reference, branch) from {row: curves}; `alone` is dashed, other rows are grey."""
    references, branches = (list(dict.fromkeys(key[i] for key in panels)) for i in (0, 1))
    figure = Figure(figsize=(3.4 * len(branches), 0.6 + 2.1 * len(references)), layout="constrained")
    grid = figure.subplots(len(references), len(branches), sharex=True, sharey="col", squeeze=False)
    for i, reference in enumerate(references):
        for j, branch in enumerate(branches):
            axes, curves = grid[i, j], panels.get((reference, branch), {})
            for row, of_row in curves.items():
                if of_row and row not in ("alone", reference):
                    mean = np.mean(of_row, axis=0)
                    axes.plot(range(1, len(mean) + 1), mean, color=GREY, linewidth=0.6)
            for row, style, colour in ((reference, "-", COLOURS[0]), ("alone", "--", COLOURS[1])):
                if curves:
                    plot_range(axes, curves[row], style, colour)
            axes.set_title(f"{reference}: {branch}", fontsize=8)
            axes.grid(linewidth=0.4)
            axes.xaxis.set_major_locator(ticker.MaxNLocator(nbins=6, integer=True))
        grid[i, 0].set_ylabel("validation accuracy, %")
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
    styles = {"the row in the title": ("-", COLOURS[0]), "the branch alone": ("--", COLOURS[1])}
    add_legend(figure, styles | {"rows compared with it": ("-", GREY)}, f"{dataset}: means, ranges")
    return figure


def add_legend(figure: Figure, styles: Mapping[str, tuple[str, str]], title: str) -> None:
    """Adds the legend of {name: style and colour of its line} above the panels of a figure."""
    handles = [Line2D([], [], ls=style, color=colour) for style, colour in styles.values()]
    figure.legend(handles, list(styles), loc="outside upper right", ncols=len(styles), frameon=False, title=title)


def plot_branches(axes: Axes, curves: Sequence[Curve], style: str) -> None:
    """Plots mean and range over trials, a colour per branch; plots nothing if a trial has no such curve."""
    if all(curves):
        for i, branch in enumerate(curves[0]):
            plot_range(axes, [curve[branch] for curve in curves], style, COLOURS[i % len(COLOURS)])


def plot_range(axes: Axes, curves: Sequence[np.ndarray], style: str, colour: str) -> None:
    """Plots mean and range of curves (epochs,) over trials."""
    epochs = np.arange(1, len(curves[0]) + 1)
    axes.plot(epochs, np.mean(curves, axis=0), style, color=colour, linewidth=1.1)
    low, high = np.min(curves, axis=0), np.max(curves, axis=0)
    axes.fill_between(epochs, low, high, color=colour, alpha=0.15, linewidth=0)


def read_curves(folder: Path) -> dict[str, Curve]:
    """Reads {quantity: {branch: (epochs,)}} of a run: means over the steps of each epoch, and R on the validation set.

    A model without branches, and one that takes no steps, has no curves.
    """
    steps, epochs = metrics_of(folder)
    first = steps[0] if steps else {}
    branches = list(first.get("R", {}))
    curves = {}
    for quantity in QUANTITIES:
        means = epoch_means(steps, quantity).values()
        named = [branch for branch in branches if branch in first.get(quantity, {})]
        curves[quantity] = {branch: np.array([of_epoch.get(branch, np.nan) for of_epoch in means]) for branch in named}
    validated = [epoch["validation"] for epoch in epochs if "validation" in epoch]
    curves["validation R"] = {branch: np.array([v["R"][branch] for v in validated]) for branch in branches if validated}
    return curves
