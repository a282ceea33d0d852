"""Draws windows as small multiples: the first channels of each group, with the same axes for all windows."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dcdp_jax.report.drawing import PALETTE, Chart, Line, Panel, draw_panels
from dcdp_jax.report.tables import Table

GROUPS_SHOWN = 4
# Colours of the channels of a group that are drawn, by their names on the page.
COLOURS = {"blue": PALETTE[0], "orange": PALETTE[1], "green": PALETTE[2]}


class Window(NamedTuple):
    """A window to draw: its heading, a line below it, and its samples (t, c)."""

    title: str
    caption: str
    values: np.ndarray


def colour_table(channels: Sequence[Mapping[str, Any]]) -> Table:
    """Returns which channels `window_charts` draws, and in which colour."""
    rows = [
        [group, *(channels[i]["name"] for i in chosen), *[""] * (len(COLOURS) - len(chosen))]
        for group, chosen in _shown(channels).items()
    ]
    return Table(["Group", *COLOURS], rows, "texts")


def window_charts(channels: Sequence[Mapping[str, Any]], rate: float, windows: Sequence[Window]) -> list[Chart]:
    """Draws windows of channels with `name`, `group` and `unit`, sampled at a rate in Hz."""
    shown = _shown(channels)
    labels, limits = {}, {}
    for group, chosen in shown.items():
        unit = channels[chosen[0]]["unit"]
        # Two lines where one would be longer than a panel is high.
        labels[group] = f"{group} ({unit})" if len(group) + len(unit) <= 11 else f"{group}\n({unit})"
        low = min((float(window.values[:, chosen].min()) for window in windows), default=0.0)
        high = max((float(window.values[:, chosen].max()) for window in windows), default=0.0)
        margin = 0.05 * (high - low) or 1.0
        limits[group] = (low - margin, high + margin)
    charts = []
    for number, window in enumerate(windows):
        time = np.arange(len(window.values)) / rate
        panels = [
            Panel(
                labels[group],
                [
                    Line("", colour, time, window.values[:, i])
                    for i, colour in zip(chosen, COLOURS.values(), strict=False)
                ],
                limits[group],
            )
            for group, chosen in shown.items()
        ]
        charts.append(draw_panels(f"example-{number}", window.title, window.caption, panels))
    return charts


def _shown(channels: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    """Returns {group: its first channels} of the first groups."""
    shown: dict[str, list[int]] = {}
    for i, channel in enumerate(channels):
        shown.setdefault(channel["group"], []).append(i)
    return {group: shown[group][: len(COLOURS)] for group in list(shown)[:GROUPS_SHOWN]}
