"""Makes the tables and the chart of robustness.json: scores without a sensor, with noise, and worn otherwise."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dcdp_jax.report.charts import Chart
from dcdp_jax.report.drawing import PALETTE, Line, draw
from dcdp_jax.report.page import percent, signed
from dcdp_jax.report.tables import Table

SCORES = {"accuracy": "accuracy", "f1_macro": "macro F1"}
WAYS = ("fused", "fallback")


def absent_table(robustness: Mapping[str, Any]) -> Table:
    """Returns the scores without each branch, site and group; in brackets the difference to the scores with all."""
    ways = [way for way in WAYS if any(way in row for row in robustness["absent"])]
    head = ["%", *(f"{way}: {label}" for way in ways for label in SCORES.values())]
    clean = robustness["clean"]
    rows = []
    for row in robustness["absent"]:
        cells = [_changed(row[way][score], clean[score]) if way in row else "" for way in ways for score in SCORES]
        rows.append([f"{absence_name(row)} ({_channels(row)})", *cells])
    if rows:
        rows.insert(0, ["nothing absent", *(percent(clean[score]) for _ in ways for score in SCORES)])
    return Table(head, rows)


def shapley_table(robustness: Mapping[str, Any]) -> Table:
    """Returns what each branch adds to the accuracy; no rows for a file that does not say it, or a single branch."""
    values = robustness.get("shapley", {})
    rows = [[name, signed(value)] for name, value in values.items()] if len(values) > 1 else []
    return Table(["Branch", "Shapley value of the accuracy, points"], rows)


def noise_table(robustness: Mapping[str, Any]) -> Table:
    """Returns the scores at each level of noise; in brackets the difference to no noise."""
    clean = robustness["clean"]
    rows = [["0", *(percent(clean[score]) for score in SCORES)]]
    rows += [
        [f"{row['level']:g}", *(_changed(row["fused"][score], clean[score]) for score in SCORES)]
        for row in robustness["noise"]
    ]
    return Table(["Noise, standard deviations", *(f"{label}, %" for label in SCORES.values())], rows)


def worn_table(robustness: Mapping[str, Any]) -> Table:
    """Returns the scores of devices that are worn or sample otherwise; in brackets the difference to the clean ones."""
    rows = [
        [worn_name(row), *(_changed(row["fused"][score], robustness["clean"][score]) for score in SCORES)]
        for row in robustness.get("worn", [])
    ]
    return Table(["Worn or sampled otherwise", *(f"{label}, %" for label in SCORES.values())], rows)


def noise_chart(robustness: Mapping[str, Any]) -> Chart:
    """Draws accuracy and macro F1 over the level of noise."""
    lines = [
        Line(label, colour, *noise_points(robustness, score))
        for (score, label), colour in zip(SCORES.items(), PALETTE, strict=False)
    ]
    svg = draw("noise", "Scores with noise", lines, "noise, standard deviations", "per cent", whole=False)
    caption = "Gaussian noise on every channel of the normalised signal, the same draws at every level."
    return Chart("Scores with noise", caption, svg)


def noise_points(robustness: Mapping[str, Any], score: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the levels of noise, from 0, and the score at each in per cent."""
    levels = [0.0, *(row["level"] for row in robustness["noise"])]
    values = [robustness["clean"][score], *(row["fused"][score] for row in robustness["noise"])]
    return np.array(levels), 100 * np.array(values)


def worn_name(row: Mapping[str, Any]) -> str:
    """Returns what a row of `worn` is about, as `rotated by 45 degrees`.

    >>> worn_name({"kind": "lost", "level": 0.1})
    '10 % of the samples lost'
    """
    if row["kind"] == "rotation":
        return f"rotated by {row['level']:g} degrees"
    if row["kind"] == "mirror":
        return "worn on the other side"
    share = f"{100 * row['level']:g} %"
    return f"{share} of the sampling rate" if row["kind"] == "rate" else f"{share} of the samples lost"


def absence_name(row: Mapping[str, Any]) -> str:
    """Returns the name of what is absent, as `branch res`."""
    return f"{row['kind']} {row['name']}"


def _changed(value: float, clean: float) -> str:
    return f"{percent(value)} ({signed(value - clean)})"


def _channels(row: Mapping[str, Any]) -> str:
    count = len(row["channels"])
    return f"{count} channel{'s' if count != 1 else ''}"
