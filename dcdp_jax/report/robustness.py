"""Makes the tables and the chart of robustness.json: scores without sensors, with noise, and worn differently."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dcdp_jax.calibration import MAIN_SCORES
from dcdp_jax.report.drawing import PALETTE, Line, draw
from dcdp_jax.report.page import percent, signed
from dcdp_jax.report.tables import Table

WAYS = ("fused", "fallback")


def robustness_section(robustness: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the tables `absent`, `shapley`, `noise` and `worn`, and `chart`, of the scores over the level of noise.

    The differences in brackets are to the scores with all sensors and no noise.
    """
    clean = robustness["clean"]
    unchanged = [percent(clean[score]) for score in MAIN_SCORES]

    def changed(scores: Mapping[str, float]) -> list[str]:
        return [f"{percent(scores[score])} ({signed(scores[score] - clean[score])})" for score in MAIN_SCORES]

    ways = [way for way in WAYS if any(way in row for row in robustness["absent"])]
    absent = [["nothing absent", *unchanged * len(ways)]] if robustness["absent"] else []
    for row in robustness["absent"]:
        count = len(row["channels"])
        cells = [cell for way in ways for cell in (changed(row[way]) if way in row else [""] * len(MAIN_SCORES))]
        absent.append([f"{absence_name(row)} ({count} channel{'s' if count != 1 else ''})", *cells])
    noise = [["0", *unchanged]] + [[f"{row['level']:g}", *changed(row["fused"])] for row in robustness["noise"]]
    worn = [[worn_name(row), *changed(row["fused"])] for row in robustness.get("worn", [])]
    shapley = robustness.get("shapley", {})  # absent in files of earlier versions
    added = [[name, signed(value)] for name, value in shapley.items()] if len(shapley) > 1 else []
    labels = [f"{label}, %" for label in MAIN_SCORES.values()]
    lines = [
        Line(label, colour, *noise_points(robustness, score))
        for (score, label), colour in zip(MAIN_SCORES.items(), PALETTE, strict=False)
    ]
    caption = "Gaussian noise on every channel of the normalised signal, the same draws at every level."
    x_label = "noise, standard deviations"
    (chart,) = draw("noise", "Scores with noise", caption, lines, x_label, "per cent")
    return {
        "absent": Table(["%", *(f"{way}: {label}" for way in ways for label in MAIN_SCORES.values())], absent),
        "shapley": Table(["Branch", "Shapley value of the accuracy, points"], added),
        "chart": chart,
        "noise": Table(["Noise, standard deviations", *labels], noise),
        "worn": Table(["Worn or sampled otherwise", *labels], worn),
    }


def noise_points(robustness: Mapping[str, Any], score: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the levels of noise, from 0, and the score at each in per cent."""
    levels = [0.0, *(row["level"] for row in robustness["noise"])]
    values = [robustness["clean"][score], *(row["fused"][score] for row in robustness["noise"])]
    return np.array(levels), 100 * np.array(values)


def worn_name(row: Mapping[str, Any]) -> str:
    """Returns the name of a row of `worn`, such as `rotated by 45 degrees`.

    >>> worn_name({"kind": "lost", "level": 0.1})
    '10 % of the samples lost'
    """
    level = row["level"]
    return {
        "rotation": f"rotated by {level:g} degrees",
        "mirror": "worn on the other side",
        "rate": f"{100 * level:g} % of the sampling rate",
        "lost": f"{100 * level:g} % of the samples lost",
    }[row["kind"]]


def absence_name(row: Mapping[str, Any]) -> str:
    """Returns the name of what is absent, such as `branch res`."""
    return f"{row['kind']} {row['name']}"
