"""Writes one self-contained page that compares finished runs, from their files alone."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from dcdp_jax.calibration import MAIN_SCORES, calibration, class_scores
from dcdp_jax.errors import UserError
from dcdp_jax.report import tables
from dcdp_jax.report.charts import branch_accuracy_curve, by_subject, draw_reliability, points, validation_records
from dcdp_jax.report.drawing import PALETTE, Chart, Line, draw
from dcdp_jax.report.page import number, percent, signed, text, write_page
from dcdp_jax.report.robustness import WAYS, absence_name, noise_points
from dcdp_jax.report.tables import Table
from dcdp_jax.runs.reading import FinishedRun, read_run
from dcdp_jax.values import flatten

MAX_RUNS = len(PALETTE)
T = TypeVar("T")


class Named(NamedTuple):
    """A run with the letter and the name that it has on the page."""

    letter: str
    name: str
    run: FinishedRun

    @property
    def label(self) -> str:
        """Letter and shortened name, for legends and column titles: `A seed0`."""
        return f"{self.letter} {_cut(self.name, 20)}"

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of its config by their dotted names."""
        return dict(flatten(self.run.config))


def write_comparison(runs: Sequence[pathlib.Path], workdir: pathlib.Path) -> pathlib.Path:
    """Writes `compare.html` of 2 to `MAX_RUNS` finished runs; raises UserError for another number, or a damaged run."""
    if not 2 <= len(runs) <= MAX_RUNS:
        raise UserError(f"--mode=compare takes the folders of 2 to {MAX_RUNS} finished runs, got {len(runs)}")
    names = [path.resolve().name for path in runs]
    if len(set(names)) < len(names):
        names = [str(path) for path in runs]
    found = [
        Named(chr(ord("A") + i), name, read_run(path)) for i, (name, path) in enumerate(zip(names, runs, strict=True))
    ]
    return write_page(
        workdir / "compare.html",
        runs=found,
        all_marks=list(dict.fromkeys(mark for named in found for mark in named.run.result["marks"])),
        differing=_differing(found),
        facts_of_runs=_run_table(found),
        scores=_score_table(found),
        epoch_charts=_epoch_charts(found),
        branch_charts=_branch_charts(found),
        classes=_class_table(found),
        confusions=[tables.confusion_table(named.run.result) for named in found],
        reliabilities=_reliabilities(found),
        subjects=_subject_table(found),
        not_measured=", ".join(named.letter for named in found if named.run.robustness is None),
        robustness=_robustness_table(found),
        noise_charts=_noise_charts(found),
        fields=_config_table(found),
    )


def _differing(runs: list[Named]) -> dict[str, str]:
    """Returns {what: values of all runs} for everything that differs and must be equal to compare scores."""
    read: dict[str, Callable[[Named], Any]] = {
        "data set": lambda named: named.run.result["dataset"],
        "protocol": lambda named: named.run.result["protocol"],
        "fold": lambda named: named.fields.get("data.fold"),
        "window": lambda named: named.fields.get("data.window"),
        "step": lambda named: named.fields.get("data.step"),
        "classes": lambda named: named.run.result["class_names"],
        "test windows": lambda named: named.run.result["windows"].get("test"),
        "data fingerprint": lambda named: named.run.result["data_fingerprint"],
    }
    return {
        what: "; ".join(f"{named.letter} {_cut(text(of(named)), 24)}" for named in runs)
        for what, of in read.items()
        if any(of(named) != of(runs[0]) for named in runs)
    }


def _run_table(runs: list[Named]) -> Table:
    facts: dict[str, Callable[[dict[str, Any]], Any]] = {
        "Data set": lambda result: result["dataset"],
        "Protocol": lambda result: result["protocol"],
        "Marks": lambda result: ", ".join(result["marks"]) or "none",
        "Seed": lambda result: result["seed"],
        "Test windows": lambda result: number(result["windows"].get("test"), "{:,}"),
        "Parameters": lambda result: number(result["parameters"], "{:,}"),
        "Selection": tables.selection,
        "Selected epoch": lambda result: result["best_epoch"],
        "Windows per second": lambda result: number(result["windows_per_second"], "{:,.0f}"),
        "Device": lambda result: result["device"],
        "Data fingerprint": lambda result: _cut(result["data_fingerprint"]),
        "Git revision": lambda result: _cut(text(result["git_revision"])),
    }
    rows = [["Folder", *(named.name for named in runs)]]
    rows += [[title, *(read(named.run.result) for named in runs)] for title, read in facts.items()]
    return Table(["", *(named.letter for named in runs)], rows, "texts runs")


def _side_by_side(columns: Sequence[Mapping[str, T]]) -> dict[str, list[T | None]]:
    """Returns {name: its value in each column} for the names in any of the columns; None if a column lacks the name."""
    return {name: [column.get(name) for column in columns] for column in columns for name in column}


def _shares(corner: str, runs: list[Named], columns: Sequence[Mapping[str, float]]) -> Table:
    """Formats shares from 0 to 1 in per cent, a column for each run, and with two runs their difference."""
    numbers = _side_by_side(columns)
    rows = [[label, *map(percent, values)] for label, values in numbers.items()]
    head = [corner, *(named.label for named in runs)]
    if len(runs) == 2:
        head.append("B less A")
        for row, (first, second) in zip(rows, numbers.values(), strict=True):
            row.append(signed(None if first is None or second is None else second - first))
    return Table(head, rows)


def _score_table(runs: list[Named]) -> Table:
    columns = [
        {label: named.run.result["test"][key] for key, label in tables.SCORES.items()}
        | {f"Accuracy of {name}'s classifier": share for name, share in named.run.result["branches"].items()}
        for named in runs
    ]
    return _shares("%", runs, columns)


def _class_table(runs: list[Named]) -> Table:
    columns = []
    for named in runs:
        f1 = class_scores(np.array(named.run.result["confusion"]))["f1"].tolist()
        columns.append(dict(zip(named.run.result["class_names"], f1, strict=True)))
    return _shares("F1, %", runs, columns)


def _subject_table(runs: list[Named]) -> Table:
    """Returns the accuracy of each subject, sorted by the first run; no rows where no run has predictions."""
    found = [[] if named.run.predictions is None else by_subject(named.run.predictions) for named in runs]
    return _shares("Subject, %", runs, [{name: share for name, share, _ in subjects} for subjects in found])


def _epoch_charts(runs: list[Named]) -> list[Chart]:
    """Draws loss and scores over the epochs, a curve for each run in its colour."""
    charts: list[Chart] = []
    for title, caption, part, key in (
        ("Training loss", "The total with all its terms.", "train", "loss"),
        ("Validation loss", "Cross-entropy of the fusion.", "validation", "loss"),
        ("Validation accuracy", "Of the model's prediction.", "validation", "accuracy"),
        ("Validation macro F1", "Selects the epoch (train.selection=best).", "validation", "f1_macro"),
    ):
        factor, y_label, scale = (1, "loss", "log") if key == "loss" else (100, "per cent", "linear")
        found = [points(named.run.epochs, "epoch", part, key) for named in runs]
        lines = [Line(runs[i].label, PALETTE[i], x, factor * y) for i, (x, y) in enumerate(found)]
        charts += draw(f"epoch-{part}-{key}", title, caption, lines, "epoch", y_label, scale)
    return charts


def _branch_charts(runs: list[Named]) -> list[Chart]:
    """Draws accuracy, S and M of every branch. Curves of runs that have no other branch are dashed."""
    charts: list[Chart] = []
    alone = [len(named.run.result["branches"]) == 1 for named in runs]
    labels = [f"{named.letter} alone" if one else named.label for named, one in zip(runs, alone, strict=True)]
    for branch in dict.fromkeys(branch for named in runs for branch in named.run.result["branches"]):
        for group, x_label, y_label, scale, found in (
            (
                "Accuracy",
                "epoch",
                "per cent",
                "linear",
                [branch_accuracy_curve(n.run.epochs, branch) for n in runs],
            ),
            ("S", "epoch", "S", "unit", [points(validation_records(n.run.epochs), "epoch", "S", branch) for n in runs]),
            ("M", "step", "M", "unit", [points(named.run.steps, "step", "M", branch) for named in runs]),
        ):
            title = f"{group} of {branch}"
            lines = [Line(labels[i], PALETTE[i], x, y, alone[i]) for i, (x, y) in enumerate(found)]
            charts += draw(f"{group}-{branch}", title, "", lines, x_label, y_label, scale)
    return charts


def _reliabilities(runs: list[Named]) -> list[Chart]:
    """Draws a reliability diagram for each run that has predictions."""
    charts = []
    for named in runs:
        if named.run.predictions is not None:
            bins = calibration(named.run.predictions.right, named.run.predictions.confidence)
            caption = f"Expected calibration error {percent(bins.error())} %."
            charts.append(draw_reliability(f"reliability-{named.letter}", named.label, caption, bins))
    return charts


def _robustness_table(runs: list[Named]) -> Table:
    """Returns the accuracy without each branch, site and group; no rows where no run was measured."""
    columns = {}
    for named in runs:
        if robustness := named.run.robustness:
            cells = {"nothing absent": percent(robustness["clean"]["accuracy"])}
            for row in robustness["absent"]:
                cells[absence_name(row)] = " / ".join(percent(row[way]["accuracy"]) for way in WAYS if way in row)
            columns[named.label] = cells
    rows = [[name, *cells] for name, cells in _side_by_side(list(columns.values())).items()]
    return Table(["Accuracy, %", *columns], rows)


def _noise_charts(runs: list[Named]) -> list[Chart]:
    charts: list[Chart] = []
    for score, label in MAIN_SCORES.items():
        lines = [
            Line(named.label, colour, *noise_points(named.run.robustness, score))
            for named, colour in zip(runs, PALETTE, strict=False)
            if named.run.robustness is not None
        ]
        title, x_label = f"With noise: {label}", "noise, standard deviations"
        charts += draw(f"noise-{score}", title, "", lines, x_label, "per cent")
    return charts


def _config_table(runs: list[Named]) -> Table:
    """Returns the fields that differ; no rows where none does."""
    fields = _side_by_side([{name: text(value) for name, value in named.fields.items()} for named in runs])
    rows = [
        [name, *("absent" if value is None else value for value in values)]
        for name, values in fields.items()
        if len(set(values)) > 1
    ]
    return Table(["Field", *(named.letter for named in runs)], rows, "texts runs")


def _cut(value: str, length: int = 12) -> str:
    """Shortens a long value."""
    return value if len(value) <= length else f"{value[:length]}…"
