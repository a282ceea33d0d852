"""Each branch of a study's rows beside the same branch trained alone: whether joint training hinders it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dcdp_jax.report.diagnosis import branch_accuracy
from dcdp_jax.runs.reading import read_metrics
from dcdp_jax.studies.engine import Outcome, finished, folder_of
from dcdp_jax.studies.figures import COLOURS, STYLE, save
from dcdp_jax.studies.grid import slug
from dcdp_jax.studies.oracle import Oracles, interval_text
from dcdp_jax.studies.statistics import Interval, bootstrap

Runs = Mapping[tuple[int, int], Outcome]


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


def own_accuracy(outcome: Outcome) -> dict[str, float]:
    """Returns {branch: test accuracy of its own classifier, in percent} of a finished trial."""
    assert outcome.result is not None
    return {branch: 100 * share for branch, share in outcome.result["branches"].items()}


def runs_of(outcomes: Sequence[Outcome], dataset: str, row: str) -> Runs:
    """Returns {(fold, seed): finished trial} of a row on a data set."""
    return finished([outcome for outcome in outcomes if outcome.trial.dataset == dataset], row)


def joint_rows(reference: str, compare: Mapping[str, str]) -> list[str]:
    """Returns the reference of an oracle, and the rows that are compared with it, {row: reference}."""
    return [reference, *(row for row, other in compare.items() if other == reference)]


def alone_runs(outcomes: Sequence[Outcome], dataset: str, rows: Sequence[str]) -> dict[str, Runs]:
    """Returns {branch: the runs that have no other} among the rows of an oracle, on one data set."""
    found: dict[str, Runs] = {}
    for row in rows:
        runs = runs_of(outcomes, dataset, row)
        branches = {branch for outcome in runs.values() for branch in own_accuracy(outcome)}
        if len(branches) == 1:
            found[branches.pop()] = runs
    return found


def hindrances_of(outcomes: Sequence[Outcome], compare: Mapping[str, str], oracles: Oracles) -> list[Hindrance]:
    """Compares every branch of each oracle's reference, and of the rows that are compared with it, with itself alone.

    Args:
      outcomes: of the study.
      compare: {row: reference}.
      oracles: {reference: the rows of its oracle}, each a branch alone.
    """
    found = []
    for dataset in dict.fromkeys(outcome.trial.dataset for outcome in outcomes):
        for reference, rows in oracles.items():
            alone = alone_runs(outcomes, dataset, rows)
            for row in joint_rows(reference, compare):
                joint = {key: own_accuracy(run) for key, run in runs_of(outcomes, dataset, row).items()}
                for branch, single in alone.items():
                    keys = [key for key in joint if key in single and branch in joint[key]]
                    if keys:
                        pairs = np.array([(joint[key][branch], own_accuracy(single[key])[branch]) for key in keys])
                        difference = bootstrap(pairs, lambda x: x[..., 0] - x[..., 1])
                        mean = float(pairs[:, 0].mean())
                        found.append(Hindrance(dataset, row, branch, len(keys), mean, difference))
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
    lines = [
        "### Each branch beside itself alone",
        "",
        "Test accuracy of the branch's own classifier, and the difference in points to the same branch trained alone "
        "with the same seed and fold, with the 95 % bootstrap interval; below 0 the branch is under-optimised.",
        "",
        f"| data set | row | n | {' | '.join(branches)} |",
        "|---|---|---|" + "---|" * len(branches),
    ]
    for (dataset, row), by_branch in cells.items():
        texts = [
            f"{by_branch[name].accuracy:.2f}, {interval_text(by_branch[name].difference)}" if name in by_branch else ""
            for name in branches
        ]
        pairs = max(one.pairs for one in by_branch.values())
        lines.append(f"| {dataset} | {row} | {pairs} | {' | '.join(texts)} |")
    return "\n".join(lines)


def draw_branches(
    outcomes: Sequence[Outcome], compare: Mapping[str, str], oracles: Oracles, workdir: Path
) -> list[Path]:
    """Draws the branches' validation accuracy over the epochs, jointly and alone, into `figures/`.

    Each reference of an oracle has a line of panels, one for each branch. Data sets without a validation part, or
    whose branches were not trained alone, have no figure.

    Returns:
      The SVG files, each with a PNG beside it.
    """
    paths = []
    with matplotlib.rc_context(STYLE):
        for dataset in dict.fromkeys(outcome.trial.dataset for outcome in outcomes):
            panels: dict[tuple[str, str], dict[str, list[np.ndarray]]] = {}
            for reference, rows in oracles.items():
                for branch, single in alone_runs(outcomes, dataset, rows).items():
                    curves = {"alone": curves_of(single, branch, workdir)}
                    for row in joint_rows(reference, compare):
                        curves[row] = curves_of(runs_of(outcomes, dataset, row), branch, workdir)
                    if curves["alone"] and curves[reference]:
                        panels[reference, branch] = curves
            if panels:
                path = workdir / "figures" / f"{slug(dataset)}-branches"
                paths.append(save(draw_panels(dataset, panels), path))
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
    handles = [grid[0, 0].plot([], [], "-", color=COLOURS[0])[0], grid[0, 0].plot([], [], "--", color=COLOURS[1])[0]]
    handles.append(grid[0, 0].plot([], [], color="#9aa1a9", linewidth=0.6)[0])
    names = ["the row in the title", "the branch alone", "rows compared with it"]
    figure.legend(handles, names, loc="outside upper right", ncols=3, frameon=False, title=f"{dataset}: means, ranges")
    return figure


def plot_range(axes: Axes, curves: Sequence[np.ndarray], style: str, colour: str) -> None:
    """Plots mean and range over runs."""
    values = np.stack(curves)
    epochs = np.arange(1, values.shape[1] + 1)
    axes.plot(epochs, values.mean(axis=0), style, color=colour, linewidth=1.3)
    axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, linewidth=0)
