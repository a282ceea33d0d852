"""Each branch of a study's rows beside the same branch trained alone: whether joint training hinders it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure

from dcdp_jax.report.charts import branch_accuracy
from dcdp_jax.report.drawing import FIGURE_STYLE, save_figure
from dcdp_jax.runs.files import markdown_table
from dcdp_jax.runs.reading import read_metrics
from dcdp_jax.studies.engine import Outcome, by_dataset, finished, folder_of
from dcdp_jax.studies.figures import COLOURS, DPI, add_legend, plot_range
from dcdp_jax.studies.grid import slug
from dcdp_jax.studies.oracle import Oracles, interval_text
from dcdp_jax.studies.statistics import Interval, bootstrap, difference, paired

Runs = Mapping[tuple[int, int], Outcome]  # {(fold, seed): finished trial} of a row on a data set


class Hindrance(NamedTuple):
    """A branch that a row trains with others, beside the same branch alone."""

    dataset: str  # name in the study
    row: str  # name of the row that trains all branches
    branch: str  # name
    pairs: int  # number of seeds and folds that both have
    accuracy: float  # test accuracy of the branch's own classifier in the row, mean over them, in percent
    # to that of the branch alone, in points, with the bootstrap interval over the pairs; below 0 the branch is
    # under-optimised
    difference: Interval


def joint_rows(reference: str, compare: Mapping[str, str]) -> list[str]:
    """Returns the reference of an oracle, and the rows that are compared with it, {row: reference}."""
    return [reference, *(row for row, other in compare.items() if other == reference)]


def alone_runs(outcomes: Sequence[Outcome], rows: Sequence[str]) -> dict[str, Runs]:
    """Returns {branch: the runs that have no other} among the rows of an oracle, on one data set."""
    found: dict[str, Runs] = {}
    for runs in (finished(outcomes, row) for row in rows):
        branches = {branch for run in runs.values() for branch in run.result["branches"]}
        if len(branches) == 1:
            found[branches.pop()] = runs
    return found


def own_accuracy(runs: Runs, branch: str) -> dict[tuple[int, int], float]:
    """Returns the test accuracy in percent of a branch's own classifier, of the runs that have the branch."""
    shares = {key: run.result["branches"].get(branch) for key, run in runs.items()}
    return {key: 100 * share for key, share in shares.items() if share is not None}


def hindrances_of(outcomes: Sequence[Outcome], compare: Mapping[str, str], oracles: Oracles) -> list[Hindrance]:
    """Compares every branch of each oracle's reference, and of the rows that are compared with it, with itself alone.

    Rows are compared as {row: reference}; an oracle is {reference: its rows}, each a branch alone.
    """
    found = []
    for dataset, here in by_dataset(outcomes).items():
        for reference, rows in oracles.items():
            alone = alone_runs(here, rows)
            for row in joint_rows(reference, compare):
                joint = finished(here, row)
                for branch, single in alone.items():
                    pairs = paired(own_accuracy(joint, branch), own_accuracy(single, branch))
                    if len(pairs):
                        accuracy = float(pairs[:, 0].mean())
                        gap = bootstrap(pairs, difference)
                        found.append(Hindrance(dataset, row, branch, len(pairs), accuracy, gap))
    return found


def branch_section(outcomes: Sequence[Outcome], compare: Mapping[str, str], oracles: Oracles) -> str:
    """Returns the section of a study's page on the branches, in Markdown; '' where none was trained alone."""
    found = hindrances_of(outcomes, compare, oracles)
    if not found:
        return ""
    branches = list(dict.fromkeys(one.branch for one in found))
    cells: dict[tuple[str, str], dict[str, Hindrance]] = {}
    for one in found:
        cells.setdefault((one.dataset, one.row), {})[one.branch] = one
    lines = []
    for (dataset, row), by_branch in cells.items():
        texts = {name: f"{one.accuracy:.2f}, {interval_text(one.difference)}" for name, one in by_branch.items()}
        pairs = max(one.pairs for one in by_branch.values())
        lines.append([dataset, row, str(pairs), *(texts.get(name, "") for name in branches)])
    return (
        "### Each branch beside itself alone\n\n"
        "Test accuracy of the branch's own classifier, and the difference in points to the same branch trained alone "
        "with the same seed and fold, with the 95 % bootstrap interval; below 0 the branch is under-optimised.\n\n"
        + markdown_table(["data set", "row", "n", *branches], lines)
    )


def draw_branches(
    outcomes: Sequence[Outcome], compare: Mapping[str, str], oracles: Oracles, workdir: Path
) -> list[Path]:
    """Draws the branches' validation accuracy over the epochs, jointly and alone, into `figures/`.

    Each reference of an oracle has a line of panels, one for each branch. Data sets without a validation part, or
    whose branches were not trained alone, have no figure. Returns the SVG files, each with a PNG beside it.
    """
    paths = []
    with matplotlib.rc_context(FIGURE_STYLE):
        for dataset, here in by_dataset(outcomes).items():
            panels: dict[tuple[str, str], dict[str, list[np.ndarray]]] = {}
            for reference, rows in oracles.items():
                for branch, single in alone_runs(here, rows).items():
                    curves = {"alone": curves_of(single, branch, workdir)}
                    for row in joint_rows(reference, compare):
                        curves[row] = curves_of(finished(here, row), branch, workdir)
                    if curves["alone"] and curves[reference]:
                        panels[reference, branch] = curves
            if panels:
                path = workdir / "figures" / f"{slug(dataset)}-branches"
                paths.append(save_figure(draw_panels(dataset, panels), path, DPI))
    return paths


def curves_of(runs: Runs, branch: str, workdir: Path) -> list[np.ndarray]:
    """Returns the validation accuracy in percent (epochs,) of a branch's own classifier in each run that has it."""
    curves = [branch_accuracy(read_metrics(folder_of(run.trial, workdir))[1], branch)[1] for run in runs.values()]
    return [curve for curve in curves if len(curve)]


def draw_panels(dataset: str, panels: Mapping[tuple[str, str], Mapping[str, Sequence[np.ndarray]]]) -> Figure:
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
                    axes.plot(range(1, len(mean) + 1), mean, color="#9aa1a9", linewidth=0.6)
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
    add_legend(figure, styles | {"rows compared with it": ("-", "#9aa1a9")}, f"{dataset}: means, ranges")
    return figure
