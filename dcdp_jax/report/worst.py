"""Draws the windows of the most confident errors."""

from collections.abc import Mapping
from typing import Any

from dcdp_jax.report import tables
from dcdp_jax.report.examples import Window, colour_table, window_charts
from dcdp_jax.report.page import figures


def worst_windows(worst: Mapping[str, Any]) -> str:
    """Draws the windows as small multiples, each with its true and predicted class."""
    windows = [
        Window(
            f"{window['true']}, taken for {window['predicted']}",
            f"Confidence {tables.percent(window['confidence'])} %. Subject {window['subject']}, recording "
            f"{window['recording']}, from sample {window['start']}.",
            window["values"],
        )
        for window in worst["windows"]
    ]
    if not windows:
        return "<p>No test window is wrong.</p>"
    return colour_table(worst["channels"]) + figures(
        window_charts(worst["channels"], worst["rate"], windows), "charts small"
    )
