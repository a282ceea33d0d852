"""The most confident errors of a run: the reader of worst_windows.json, and the windows drawn."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from dcdp_jax.errors import UserError
from dcdp_jax.report import tables
from dcdp_jax.report.examples import Window, colour_table, window_charts
from dcdp_jax.report.page import figures
from dcdp_jax.runs.reading import read_object

FILE = "worst_windows.json"


def read_worst_windows(workdir: pathlib.Path) -> dict[str, Any] | None:
    """Reads `worst_windows.json`.

    Args:
      workdir: folder of a run.

    Returns:
      `rate`, `channels` and `windows`, whose `values` are (t, c) arrays; None where the run left none.

    Raises:
      UserError: the file is damaged.
    """
    path = workdir / FILE
    if not path.exists():
        return None
    found = read_object(path)
    try:
        channels = [{key: str(channel[key]) for key in ("name", "group", "unit")} for channel in found["channels"]]
        windows: list[dict[str, Any]] = [
            {
                **{key: str(window[key]) for key in ("recording", "start", "subject", "true", "predicted")},
                "confidence": float(window["confidence"]),
                "values": np.array(window["values"], float),
            }
            for window in found["windows"]
        ]
        rate = float(found["rate"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} lacks or holds something else for {error}; the file was cut off or edited") from None
    if rate <= 0 or any(w["values"].ndim != 2 or w["values"].shape[1] != len(channels) for w in windows):
        raise UserError(f"{path}: a window has not one value for each of {len(channels)} channels")
    return {"rate": rate, "channels": channels, "windows": windows}


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
