"""Draws what says whether joint training hinders a branch: the branches' accuracy, and cosines of their gradients."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dcdp_jax.report.charts import Chart, Record, points, validation_records
from dcdp_jax.report.drawing import INK, PALETTE, Line, draw


def branch_accuracy(epochs: Sequence[Record], branch: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the epochs and the accuracy in percent of a branch's own classifier on the validation part."""
    x, y = points(validation_records(epochs), "epoch", "branches", branch)
    return x, 100 * y


def diagnosis_charts(epochs: Sequence[Record], branches: Sequence[str], best_epoch: int | None) -> list[Chart]:
    """Draws the accuracy of several branches, and the cosines of the gradients in each encoder, where there are data.

    Both are from epoch records of `metrics.jsonl`; the charts mark the selected epoch, and a branch keeps its colour.
    """
    colours = dict(zip(branches, PALETTE, strict=False))
    x, y = points(epochs, "epoch", "validation", "accuracy")
    accuracy = [Line(branch, colour, *branch_accuracy(epochs, branch)) for branch, colour in colours.items()]
    accuracy += [Line("fusion", INK, x, 100 * y, True)]
    measured: list[dict[str, Any]] = [
        {"epoch": record["epoch"], **record["gradient_cosine"]} for record in epochs if record.get("gradient_cosine")
    ]
    cosines = [
        Line(f"{branch}, {others}", colour, *points(measured, "epoch", key, branch), key == "shared")
        for branch, colour in colours.items()
        for key, others in (("fusion", "fusion"), ("shared", "all shared"))
    ]
    mark = "" if best_epoch is None else f" The dotted line marks the selected epoch, {best_epoch}."
    charts = [
        Chart(
            "Accuracy of each branch",
            "Of the branches' own classifiers and of the fusion, on the validation part." + mark,
            draw("epoch-branches", "Accuracy of each branch", accuracy, "epoch", "per cent", mark=best_epoch)
            if len(branches) > 1 and any(np.isfinite(line.y).any() for line in accuracy[:-1])
            else "",
        ),
        Chart(
            "Cosine of gradients",
            "Between the gradient of a branch's own loss and that of the fusion's loss, or of all losses that the "
            "branches share, in the branch's encoder. Below 0 they pull apart." + mark,
            draw("epoch-cosines", "Cosine of gradients", cosines, "epoch", "cosine", "cosine", best_epoch),
        ),
    ]
    return [chart for chart in charts if chart.svg]
