"""Writes the report of a run, one self-contained page, from the files of the run only."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dcdp_jax.calibration import calibration, class_scores
from dcdp_jax.evaluate.segments import KINDS, TRUE_KINDS, total_seconds
from dcdp_jax.report import charts, tables
from dcdp_jax.report.examples import Window, colour_table, window_charts
from dcdp_jax.report.page import number, percent, write_page
from dcdp_jax.report.rejection import rejection_section
from dcdp_jax.report.robustness import robustness_section
from dcdp_jax.report.tables import Table
from dcdp_jax.runs.reading import FinishedRun, Predictions, read_run
from dcdp_jax.values import flatten

# Terms that L_total multiplies by lambda; see `dcdp_jax.losses.total_loss`.
WEIGHTED = ("contrast", "align")


def write_report(workdir: pathlib.Path) -> pathlib.Path:
    """Writes `report.html` of a finished run atomically, and returns its path. Raises errors as `read_run` does."""
    run = read_run(workdir)
    result, config = run.result, dict(flatten(run.config))
    shares = {**result["branches"], "Fusion (the prediction)": result["test"]["accuracy"]}
    return write_page(
        workdir / "report.html",
        result=result,
        config=config,
        network=bool(run.steps),  # a classical model has no steps
        wall_time=_duration(result["wall_seconds"]),
        selection=tables.selection(result),
        scores=tables.score_table(result),
        branches=Table(["%", "Test accuracy"], [[name, percent(share)] for name, share in shares.items()]),
        classes=_class_table(result),
        confusion=tables.confusion_table(result),
        parts=tables.split_table(result["windows"], result["subjects"]),
        **_predictions(run),
        rejection=rejection_section(run),
        segments=run.segments and segment_tables(run.segments),
        calibrated=run.calibration and tables.calibration_table(run.calibration),
        epoch_charts=charts.epoch_charts(run.steps, run.epochs, result["best_epoch"])
        + charts.diagnosis_charts(run.epochs, list(result["branches"]), result["best_epoch"]),
        loss_terms=share_table(run.steps, config.get("loss.align_weight")),
        step_charts=charts.step_charts(run.steps, run.epochs, list(result["branches"]), config.get("train.batch_size")),
        robustness=run.robustness and robustness_section(run.robustness),
    )


def _class_table(result: dict[str, Any]) -> tables.Table:
    """Returns precision, recall, F1 and support of every class."""
    columns = class_scores(np.array(result["confusion"])).values()
    rows = [
        [name, *map(percent, scores), f"{sum(counts):,}"]
        for name, counts, *scores in zip(result["class_names"], result["confusion"], *columns, strict=True)
    ]
    return Table(["%", "Precision", "Recall", "F1", "Windows"], rows)


def _predictions(run: FinishedRun) -> dict[str, Any]:
    """Returns the values of the sections on calibration, subjects and errors; None if the run lacks their files."""
    if run.predictions is None or run.worst is None:
        return {"calibration": None, "worst": None}
    channels = run.worst["channels"]
    windows = [
        Window(
            f"{window['true']}, taken for {window['predicted']}",
            f"Confidence {percent(window['confidence'])} %. Subject {window['subject']}, recording "
            f"{window['recording']}, from sample {window['start']}.",
            window["values"],
        )
        for window in run.worst["windows"]
    ]
    worst = {"colours": colour_table(channels), "charts": window_charts(channels, run.worst["rate"], windows)}
    return {"calibration": _calibration(run.predictions), "worst": worst}


def _calibration(predictions: Predictions) -> dict[str, Any]:
    bins = calibration(predictions.right, predictions.confidence)
    count = len(bins.windows)
    rows = [
        [f"{i / count:.2f} to {(i + 1) / count:.2f}", f"{windows:,.0f}", percent(confidence), percent(accuracy)]
        for i, (windows, accuracy, confidence) in enumerate(zip(*bins, strict=True))
        if windows
    ]
    reliability = charts.draw_reliability(
        "reliability",
        "Reliability",
        "Bars and dots: share of right predictions among those of a confidence; the dots stand at the bin's mean "
        "confidence. On the dotted line confidence equals accuracy; below it the model is overconfident. A bin of few "
        "windows says little: how many there are stands below.",
        bins,
    )
    return {
        "error": bins.error(),
        "bins": count,
        "charts": [reliability, charts.draw_subjects(charts.by_subject(predictions), float(predictions.right.mean()))],
        "table": Table(["Confidence", "Windows", "Mean confidence, %", "Accuracy, %"], rows),
    }


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def segment_tables(grades: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the tables `detection` and `time` of `grade_segments`, and `onset`, a sentence."""
    overlaps = list(grades["map"])
    rows = [["mean over the classes", *(percent(grades["map"][overlap]) for overlap in overlaps)]]
    seconds = {**grades["seconds"], "all": total_seconds(grades)}
    counts = {**grades["segments"], "all": None}
    times = []
    for name, kinds in seconds.items():
        true = sum(kinds[kind] for kind in TRUE_KINDS)
        count = counts[name]
        segments = f"{count['true']} / {count['predicted']}" if count else ""
        shares = [percent(kinds[kind] / true) if true else "" for kind in KINDS]
        times.append([name, segments, number(true, "{:.1f}"), *shares])
    onset = grades["onset"]
    sentence = f"{onset['found']} of {onset['segments']} true segments are overlapped by a predicted one of their class"
    if onset["median"] is not None:
        sentence += (
            f"; it begins {onset['median']:.2f} s after them in the median and {onset['mean']:.2f} s in the mean"
        )
    return {
        "detection": Table(["Average precision, %", *(f"overlap {overlap}" for overlap in overlaps)], rows),
        "time": Table(["% of the true time", "Segments true / predicted", "True, s", *KINDS], times),
        "onset": sentence + ".",
    }


def share_table(steps: Sequence[dict[str, Any]], align_weight: float | None) -> Table | None:
    """Returns the contribution of each term to the total in the first and in the last epoch, and its share in per cent.

    The terms of contrast and alignment are n/a if lambda, `align_weight`, is None. Returns None if no term was logged.
    """
    means = charts.epoch_means(steps, "loss")
    if not means:
        return None
    shown = {epoch: means[epoch] for epoch in (min(means), max(means))}
    rows = []
    for term in dict.fromkeys(term for terms in shown.values() for term in terms if term != "total"):
        weight = align_weight if term in WEIGHTED else 1.0
        row = [term, number(weight, "{:g}")]
        for terms in shown.values():
            added = None if weight is None or term not in terms else weight * terms[term]
            total = terms.get("total")
            row += [number(added, "{:.3g}"), percent(added / total if added is not None and total else None)]
        rows.append(row)
    totals = [cell for terms in shown.values() for cell in (number(terms.get("total"), "{:.3g}"), "")]
    head = [title for epoch in shown for title in (f"Epoch {epoch}", "Share, %")]
    return Table(["Term", "Weight", *head], [*rows, ["total", "", *totals]])
