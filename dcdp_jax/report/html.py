"""Writes the report of a run: one self-contained page, from the files of the run alone."""

import pathlib
from typing import Any

import numpy as np

from dcdp_jax.calibration import calibration, class_scores
from dcdp_jax.report import tables
from dcdp_jax.report.charts import Chart, epoch_charts, step_charts
from dcdp_jax.report.diagnosis import diagnosis_charts
from dcdp_jax.report.examples import Window, colour_table, window_charts
from dcdp_jax.report.loss_terms import share_table
from dcdp_jax.report.page import percent, write_page
from dcdp_jax.report.plots import by_subject, draw_reliability, draw_subjects
from dcdp_jax.report.rejection import rejection_section
from dcdp_jax.report.robustness import robustness_section
from dcdp_jax.report.segments import segment_tables
from dcdp_jax.runs.reading import FinishedRun, Predictions, read_run
from dcdp_jax.values import flatten


def write_report(workdir: pathlib.Path) -> pathlib.Path:
    """Writes `report.html` of a finished run, whole or not at all, and returns its path; for errors see `read_run`."""
    run = read_run(workdir)
    result, config = run.result, dict(flatten(run.config))
    shares = {**result["branches"], "Fusion (the prediction)": result["test"]["accuracy"]}
    return write_page(
        workdir / "report.html",
        result=result,
        config=config,
        network=bool(run.steps),  # a classical model takes no steps
        wall_time=_duration(result["wall_seconds"]),
        selection=tables.selection(result),
        scores=tables.score_table(result),
        branches=tables.Table(["%", "Test accuracy"], [[name, percent(share)] for name, share in shares.items()]),
        classes=_class_table(result),
        confusion=tables.confusion_table(result),
        parts=tables.split_table(result["windows"], result["subjects"]),
        **_predictions(run),
        rejection=rejection_section(run),
        segments=run.segments and segment_tables(run.segments),
        calibrated=run.calibration and tables.calibration_table(run.calibration),
        epoch_charts=epoch_charts(run.steps, run.epochs, result["best_epoch"])
        + diagnosis_charts(run.epochs, list(result["branches"]), result["best_epoch"]),
        loss_terms=share_table(run.steps, config.get("loss.align_weight")),
        step_charts=step_charts(run.steps, run.epochs, list(result["branches"]), config.get("train.batch_size")),
        robustness=run.robustness and robustness_section(run.robustness),
    )


def _class_table(result: dict[str, Any]) -> tables.Table:
    """Returns precision, recall, F1 and support of every class."""
    columns = class_scores(np.array(result["confusion"])).values()
    rows = [
        [name, *map(percent, scores), f"{sum(counts):,}"]
        for name, counts, *scores in zip(result["class_names"], result["confusion"], *columns, strict=True)
    ]
    return tables.Table(["%", "Precision", "Recall", "F1", "Windows"], rows)


def _predictions(run: FinishedRun) -> dict[str, Any]:
    """Returns the values of the sections on calibration, subjects and errors; None where the run lacks their files."""
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
    reliability = Chart(
        "Reliability",
        "Bars and dots: share of right predictions among those of a confidence; the dots stand at the bin's mean "
        "confidence. On the dotted line the model is as often right as it says; below, it is too sure. A bin of few "
        "windows says little: how many there are stands below.",
        draw_reliability("reliability", "Reliability diagram", bins),
    )
    subjects = by_subject(predictions)
    dots = Chart(
        "Accuracy by subject",
        "The lowest first. The dotted line is the accuracy over all test windows.",
        draw_subjects("subjects", "Accuracy by subject", subjects, float(predictions.right.mean())),
    )
    return {
        "error": bins.error(),
        "bins": count,
        "charts": [reliability, dots],
        "table": tables.Table(["Confidence", "Windows", "Mean confidence, %", "Accuracy, %"], rows),
    }


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
