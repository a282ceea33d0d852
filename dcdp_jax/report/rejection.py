"""Makes the section of the report on confidence: temperature scaling, accuracy against coverage, unknown windows."""

from typing import Any

import numpy as np

from dcdp_jax.calibration import calibration
from dcdp_jax.rejection import (
    Rejection,
    accuracy_by_coverage,
    choose_threshold,
    mean_cross_entropy,
    scale_probabilities,
)
from dcdp_jax.report.charts import draw_reliability
from dcdp_jax.report.drawing import PALETTE, Line, draw
from dcdp_jax.report.page import percent
from dcdp_jax.report.tables import Table
from dcdp_jax.runs.reading import FinishedRun, true_labels

COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)


def rejection_section(run: FinishedRun) -> dict[str, Any] | None:
    """Returns the values of the section; None if the run has no threshold or no probabilities.

    They are `rule`, a sentence; `charts`; the tables `scaling` and `coverage`; `left_out` of the result, and its table
    `detection`; both are None if no class was left out.
    """
    predictions = run.predictions
    if "rejection" not in run.result or predictions is None or predictions.probabilities is None:
        return None
    rejection = Rejection(**run.result["rejection"])
    labels = true_labels(predictions.windows, run.result["class_names"])
    scaled = scale_probabilities(predictions.probabilities, rejection.temperature)
    confidence = scaled.max(axis=1)
    bins = calibration(predictions.right, confidence.astype(np.float32))
    before = calibration(predictions.right, predictions.confidence)
    scaling = [
        ["Expected calibration error, %", *(percent(found.error()) for found in (before, bins))],
        ["Cross-entropy", *(f"{mean_cross_entropy(p, labels):.4f}" for p in (predictions.probabilities, scaled))],
    ]
    coverage, accuracy = accuracy_by_coverage(predictions.right, confidence)
    curves = [Line("by probability", PALETTE[0], 100 * coverage, 100 * accuracy)]
    by_distance = np.array(run.result.get("kept_by_distance", [])).reshape(-1, 2)
    if len(by_distance):
        curves.append(Line("by distance", PALETTE[1], *100 * by_distance.T))
    thresholds = [(f"{100 * share:g}", choose_threshold(confidence, share), share) for share in COVERAGES]
    head, rows = ["Answered at least, %", "Threshold", "Answered, %", "Accuracy, %"], []
    for name, threshold, share in [*thresholds, ("model.json", rejection.threshold, None)]:
        answered = predictions.right[confidence >= threshold]
        accuracy_there = percent(float(answered.mean()) if len(answered) else None)
        rows.append([name, f"{threshold:.4f}", percent(len(answered) / len(confidence)), accuracy_there])
        if len(by_distance):
            nearest = by_distance[by_distance[:, 0] >= share - 1e-9, 1] if share else []
            rows[-1].append(percent(nearest[0] if len(nearest) else None))
    if len(by_distance):
        head.append("Accuracy by distance, %")
    return {
        "rule": f"Temperature {rejection.temperature:.3f} and threshold {rejection.threshold:.4f}, chosen on the "
        "validation set: the least cross-entropy, and the largest threshold that answers "
        f"{percent(rejection.coverage)} % of its windows.",
        "charts": [
            draw_reliability(
                "scaled",
                "Reliability after temperature scaling",
                "As above, with the logits divided by the temperature.",
                bins,
            ),
            *draw(
                "coverage",
                "Accuracy against coverage",
                "Accuracy among the windows that are answered, for every threshold: of the probability, and of the "
                "distance to the training windows. The dotted line is the coverage of the threshold of the probability "
                "in model.json.",
                curves,
                "windows answered, per cent",
                "accuracy, per cent",
                mark=100 * float(np.mean(confidence >= rejection.threshold)),
            ),
        ],
        "scaling": Table(["", "Before", "After"], scaling),
        "coverage": Table(head, rows),
        "left_out": run.result.get("left_out"),
        "detection": left_out_table(run.result.get("left_out")),
    }


def left_out_table(left_out: dict[str, Any] | None) -> Table | None:
    """Returns the shares of known and of left-out windows that are called unknown; None without such windows."""
    if left_out is None:
        return None
    scores = {"probability": left_out} | ({"distance": left_out["distance"]} if "distance" in left_out else {})
    columns = []
    for found in scores.values():
        at = [found["at_threshold"]] if "at_threshold" in found else []
        columns.append([[percent(row["false_alarms"]), percent(row["found"])] for row in [*found["found"], *at]])
    names = [f"at most {percent(row['allowed'])} % of the known" for row in left_out["found"]]
    names += ["threshold in model.json"] * (len(columns[0]) - len(names))
    rows = [[name, *(cell for pair in row for cell in pair)] for name, *row in zip(names, *columns, strict=True)]
    heads = [f"{what}, by {score}, %" for score in scores for what in ("Known windows", left_out["name"])]
    return Table(["Called unknown", *heads], rows)
