"""Writes one self-contained page that compares finished runs, from their files alone."""

import pathlib
from collections.abc import Callable, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np

from dcdp_jax.calibration import calibration
from dcdp_jax.errors import UserError
from dcdp_jax.report import tables
from dcdp_jax.report.charts import Chart, mean_confidence, points
from dcdp_jax.report.drawing import PALETTE, Line, draw
from dcdp_jax.report.page import figures, make_page, marks, section, write_page
from dcdp_jax.report.plots import draw_reliability
from dcdp_jax.report.predictions import by_subject
from dcdp_jax.report.robustness import SCORES, WAYS, absence_name, noise_points
from dcdp_jax.runs.reading import FinishedRun, read_run

PAGE = "compare.html"
MAX_RUNS = len(PALETTE)
Points = tuple[np.ndarray, np.ndarray]
# What must be the same for two scores to be of the same windows.
SAME = {
    "data set": lambda run: run.result["dataset"],
    "protocol": lambda run: run.result["protocol"],
    "fold": lambda run: _data(run).get("fold"),
    "window": lambda run: _data(run).get("window"),
    "step": lambda run: _data(run).get("step"),
    "classes": lambda run: run.result["class_names"],
    "test windows": lambda run: run.result["windows"].get("test"),
    "data fingerprint": lambda run: run.result["data_fingerprint"],
}


class Named(NamedTuple):
    """A run with the letter and the name that it has on the page."""

    letter: str
    name: str
    run: FinishedRun

    @property
    def label(self) -> str:
        """Letter and shortened name, for legends and column titles: `A seed0`."""
        return f"{self.letter} {_cut(self.name, 20)}"


def write_comparison(runs: Sequence[pathlib.Path], workdir: pathlib.Path) -> pathlib.Path:
    """Writes `compare.html`.

    Args:
      runs: folders of finished runs, two at least.
      workdir: where the page goes; made where it is new.

    Returns:
      Path of the page.

    Raises:
      UserError: too few or too many runs, or one that is not finished or damaged.
      OSError: the page could not be written.
    """
    if not 2 <= len(runs) <= MAX_RUNS:
        raise UserError(f"--mode=compare takes the folders of 2 to {MAX_RUNS} finished runs, got {len(runs)}")
    names = [path.resolve().name for path in runs]
    if len(set(names)) < len(names):
        names = [str(path) for path in runs]
    found = [
        Named(chr(ord("A") + i), name, read_run(path)) for i, (name, path) in enumerate(zip(names, runs, strict=True))
    ]
    page = _page(found)
    workdir.mkdir(parents=True, exist_ok=True)
    return write_page(workdir / PAGE, page)


def _page(runs: list[Named]) -> str:
    labels = [named.label for named in runs]
    header = (
        f"<header><h1>{len(runs)} runs side by side</h1>\n"
        f'<p class="subtitle">{escape(", ".join(labels))}</p>\n' + _warnings(runs) + "</header>\n"
    )
    sections = [
        section("Runs", _run_table(runs)),
        section("Scores", _score_table(runs), "Test part."),
        section("Over the epochs", figures(_epoch_charts(runs))),
        section(
            "Branches",
            figures(_branch_charts(runs)),
            "S on the validation part: mean probability that the branch's own classifier gives to the true class. M: "
            "the factor on its gradient.",
        ),
        section("F1 per class", _class_table(runs), "Test part."),
        section("Confusion matrices", figures(_confusions(runs)), "Test part, in windows; colour: share of the row."),
        section(
            "Calibration",
            figures(_reliabilities(runs), "charts small"),
            "Test part. On the dotted line a model is as often right as it says; below, it is too sure.",
        ),
        section("Accuracy by subject", _subject_table(runs), "Test part."),
        _robustness_section(runs),
        section("Configuration", _config_table(runs), "The fields that differ."),
    ]
    return make_page("Runs side by side", header + "\n".join(sections))


def _warnings(runs: list[Named]) -> str:
    """Lists the marks of all runs and the properties that differ although they must be the same."""
    items = ""
    for what, read in SAME.items():
        values = [tables.text(read(named.run)) for named in runs]
        if len(set(values)) > 1:
            shown = "; ".join(f"{named.letter} {_cut(value, 24)}" for named, value in zip(runs, values, strict=True))
            items += (
                f'<li><strong class="badge">{what} differs</strong> '
                f"{escape(shown)}: these scores are not of the same windows.</li>"
            )
    every = dict.fromkeys(tables.text(mark) for named in runs for mark in named.run.result["marks"])
    return marks(every) + (f'<ul class="marks">{items}</ul>\n' if items else "")


def _run_table(runs: list[Named]) -> str:
    facts: dict[str, Callable[[dict[str, Any]], str]] = {
        "Data set": lambda result: result["dataset"],
        "Protocol": lambda result: result["protocol"],
        "Marks": lambda result: ", ".join(map(tables.text, result["marks"])) or "none",
        "Seed": lambda result: tables.text(result["seed"]),
        "Test windows": lambda result: tables.number(result["windows"].get("test"), "{:,}"),
        "Parameters": lambda result: tables.number(result["parameters"], "{:,}"),
        "Selection": lambda result: tables.SELECTIONS[result.get("selection", "best")],
        "Selected epoch": lambda result: tables.text(result["best_epoch"]),
        "Windows per second": lambda result: tables.number(result["windows_per_second"], "{:,.0f}"),
        "Device": lambda result: tables.text(result["device"]),
        "Data fingerprint": lambda result: _cut(tables.text(result["data_fingerprint"])),
        "Git revision": lambda result: _cut(tables.text(result["git_revision"])),
    }
    rows = [["Folder", *(named.name for named in runs)]]
    rows += [[title, *(read(named.run.result) for named in runs)] for title, read in facts.items()]
    return tables.table(["", *(named.letter for named in runs)], rows, "texts runs")


def _score_table(runs: list[Named]) -> str:
    """Writes every test score; with two runs also their difference."""
    branches = dict.fromkeys(branch for named in runs for branch in named.run.result["branches"])
    numbers = [(label, [named.run.result["test"].get(key) for named in runs]) for key, label in tables.SCORES.items()]
    numbers += [
        (f"Accuracy of {branch} alone", [named.run.result["branches"].get(branch) for named in runs])
        for branch in branches
    ]
    return _shares("%", runs, numbers)


def _class_table(runs: list[Named]) -> str:
    scores = []
    for named in runs:
        names, confusion = named.run.result["class_names"], named.run.result["confusion"]
        f1 = tables.class_scores(confusion)[:, 2].tolist()
        scores.append(dict(zip(map(tables.text, names), f1, strict=True)))
    classes = dict.fromkeys(name for found in scores for name in found)
    return _shares("F1, %", runs, [(name, [found.get(name) for found in scores]) for name in classes])


def _shares(corner: str, runs: list[Named], numbers: Sequence[tuple[str, Sequence[Any]]]) -> str:
    """Writes shares of one in per cent, a column for each run, and with two runs their difference."""
    two = len(runs) == 2
    rows = []
    for label, values in numbers:
        row = [label, *map(tables.percent, values)]
        if two:
            first, second = values
            known = isinstance(first, int | float) and isinstance(second, int | float)
            row.append(tables.signed(second - first) if known else tables.ABSENT)
        rows.append(row)
    return tables.table([corner, *(named.label for named in runs), *(["B less A"] if two else [])], rows)


def _overlay(runs: list[Named], points_of: Callable[[FinishedRun], Points]) -> list[Line]:
    """Returns one curve for each run, in its colour."""
    return [Line(named.label, PALETTE[i], *points_of(named.run)) for i, named in enumerate(runs)]


def _epoch_charts(runs: list[Named]) -> list[Chart]:
    curves = (
        ("Training loss", "The total with all its terms.", "train", "loss", 1, "log"),
        ("Validation loss", "Cross-entropy of the fusion.", "validation", "loss", 1, "log"),
        ("Validation accuracy", "Of the model's prediction.", "validation", "accuracy", 100, "linear"),
        ("Validation macro F1", "By which the epoch is chosen.", "validation", "f1_macro", 100, "linear"),
    )
    charts = []
    for title, caption, part, key, factor, scale in curves:

        def values(run: FinishedRun, part: str = part, key: str = key, factor: int = factor) -> Points:
            x, y = points(run.epochs, "epoch", part, key)
            return x, factor * y

        y_label = "loss" if key == "loss" else "per cent"
        drawn = draw(f"epoch-{part}-{key}", title, _overlay(runs, values), "epoch", y_label, scale)
        charts.append(Chart(title, caption, drawn))
    return [chart for chart in charts if chart.svg]


def _branch_charts(runs: list[Named]) -> list[Chart]:
    charts: list[Chart] = []
    for branch in dict.fromkeys(branch for named in runs for branch in named.run.result["branches"]):

        def confidence(run: FinishedRun, branch: str = branch) -> Points:
            means = [{**mean_confidence(e.get("validation") or {}), "epoch": e["epoch"]} for e in run.epochs]
            return points(means, "epoch", "S", branch)

        def modulation(run: FinishedRun, branch: str = branch) -> Points:
            return points(run.steps, "step", "M", branch)

        for group, values, x_label in (("S", confidence, "epoch"), ("M", modulation, "step")):
            lines = _overlay(runs, values)
            drawn = draw(f"{group}-{len(charts)}", f"{group} of {branch}", lines, x_label, group, "unit")
            charts.append(Chart(escape(f"{group} of {branch}"), "", drawn))
    return [chart for chart in charts if chart.svg]


def _confusions(runs: list[Named]) -> list[Chart]:
    return [
        Chart(
            escape(named.label),
            f"Accuracy {tables.percent(named.run.result['test'].get('accuracy'))} %.",
            tables.confusion_table(named.run.result["class_names"], named.run.result["confusion"]),
        )
        for named in runs
    ]


def _reliabilities(runs: list[Named]) -> list[Chart]:
    """Draws a reliability diagram for each run that has predictions."""
    charts = []
    for named in runs:
        if named.run.predictions is not None:
            bins = calibration(named.run.predictions.right, named.run.predictions.confidence)
            drawn = draw_reliability(f"reliability-{named.letter}", f"Reliability of {named.label}", bins)
            charts.append(
                Chart(escape(named.label), f"Expected calibration error {tables.percent(bins.error())} %.", drawn)
            )
    return charts


def _subject_table(runs: list[Named]) -> str:
    """Writes the accuracy of each subject, sorted by the first run; empty where no run has predictions."""
    found = [
        {} if named.run.predictions is None else {name: value for name, value, _ in by_subject(named.run.predictions)}
        for named in runs
    ]
    subjects = dict.fromkeys(subject for accuracies in found for subject in accuracies)
    rows = [(subject, [accuracies.get(subject) for accuracies in found]) for subject in subjects]
    return _shares("Subject, %", runs, rows) if rows else ""


def _robustness_section(runs: list[Named]) -> str:
    measured = [named for named in runs if named.run.robustness is not None]
    without = ", ".join(named.letter for named in runs if named.run.robustness is None)
    lacking = (
        f'<p class="note">Not measured for {without}: <code>--mode=evaluate</code> of the run does it.</p>'
        if without
        else ""
    )
    if not measured:
        return section("Robustness", lacking)
    rows: dict[str, dict[str, str]] = {"nothing absent": {}}
    for named in measured:
        robustness = named.run.robustness or {}
        rows["nothing absent"][named.letter] = tables.percent(robustness["clean"]["accuracy"])
        for row in robustness["absent"]:
            cell = " / ".join(tables.percent(row[way]["accuracy"]) for way in WAYS if way in row)
            rows.setdefault(absence_name(row), {})[named.letter] = cell
    table = tables.table(
        ["Accuracy, %", *(named.label for named in measured)],
        [[name, *(cells.get(named.letter, tables.ABSENT) for named in measured)] for name, cells in rows.items()],
    )
    charts = []
    for score, label in SCORES.items():
        lines = [
            Line(named.label, PALETTE[i], *noise_points(named.run.robustness, score))
            for i, named in enumerate(runs)
            if named.run.robustness is not None
        ]
        drawn = draw(f"noise-{score}", label, lines, "noise, standard deviations", "per cent", whole=False)
        charts.append(Chart(f"With noise: {label}", "", drawn))
    note = "Test part, after selection. Fused / fallback, where a branch hears nothing and is left out."
    return section("Robustness", lacking + table + figures(charts), note)


def _config_table(runs: list[Named]) -> str:
    flats = [dict(tables.flat(named.run.config)) for named in runs]
    fields = dict.fromkeys(field for flat in flats for field in flat)
    rows = [[field, *(tables.text(flat[field]) if field in flat else "absent" for flat in flats)] for field in fields]
    differing = [row for row in rows if len(set(row[1:])) > 1]
    if not differing:
        return "<p>None.</p>"
    return tables.table(["Field", *(named.letter for named in runs)], differing, "texts runs")


def _data(run: FinishedRun) -> dict[str, Any]:
    data = run.config.get("data")
    return data if isinstance(data, dict) else {}


def _cut(value: str, length: int = 12) -> str:
    """Shortens a long value."""
    return value if len(value) <= length else f"{value[:length]}…"
