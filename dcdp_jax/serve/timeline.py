"""Draws a recording: its signals, the predictions with their confidence, and the true labels if there are any."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from dcdp_jax.data.recording import Recording
from dcdp_jax.evaluate.segments import Segment, true_segments
from dcdp_jax.report.drawing import FIGURE_STYLE, save_figure
from dcdp_jax.runs.model_card import ModelCard
from dcdp_jax.serve.events import UNKNOWN, Event, class_name

STYLE = FIGURE_STYLE | {"svg.fonttype": "none"}
# By class. Neighbours in this order differ in hue or in lightness, also for most colour-blind readers.
CLASS_COLOURS = (
    *("#1f6fb4", "#f0a35e", "#1a8a5f", "#c0304f", "#8a5bb5", "#d9b13c", "#1592a8", "#8c5a3c", "#e58fb0", "#6b7280"),
    *("#6cb2ee", "#c8540a", "#7fd1ae", "#f07f97", "#c3a0ea", "#9a7200", "#5cc9dc", "#c9a98f", "#a03070", "#b4bac2"),
)
# Colours of the lines of a panel with a legend.
LINES = ("#14171b", "#5f6b7a", "#a3adb8", "#c0304f", "#1f6fb4", "#1a8a5f")
MOST_NAMED = len(LINES)  # largest number of lines in a panel with a legend
UNKNOWN_COLOUR = "#dde1e6"
RESOLUTION = 130  # dots per inch


def draw_timeline(
    card: ModelCard,
    recording: Recording,
    time: np.ndarray,
    events: Sequence[Event],
    segments: Sequence[Segment],
    title: str,
) -> Figure:
    """Draws a panel of signals per group, confidence, predicted segments, and true labels where there are any."""
    groups = list(dict.fromkeys(channel.group for channel in recording.channels))
    labelled = true_segments(recording.labels, time, recording.starts, recording.rate)
    heights = [1.5] * len(groups) + [0.5] + [0.28] * (2 if labelled else 1)
    shown = sorted({s.label for s in [*segments, *labelled]})
    legend_rows = -(-len(shown) // 6)
    width = 11 * float(np.clip((time[-1] - time[0]) / 600, 1, 2))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, 1.2 * sum(heights) + 0.9 + 0.18 * legend_rows), layout="constrained")
        axes = list(figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0])
        figure.suptitle(title, x=0.01, ha="left", fontsize=9)
        for ax, group in zip(axes, groups, strict=False):
            draw_group(ax, group, recording, time)
            for segment in segments:
                ax.axvspan(segment.start, segment.end, color=colour(segment.label), alpha=0.13, lw=0)
        draw_confidence(axes[len(groups)], events)
        bands = {"predicted": segments, "labelled": labelled}
        for ax, (name, parts) in zip(axes[len(groups) + 1 :], bands.items(), strict=False):
            draw_band(ax, name, parts, card, letter=0.068 / width * float(time[-1] - time[0]))
        axes[-1].set_xlim(time[0], time[-1])
        axes[-1].xaxis.set_major_locator(MaxNLocator(12, steps=[1, 2, 3, 6, 10]))
        axes[-1].xaxis.set_major_formatter(FuncFormatter(clock))
        axes[-1].set_xlabel("time (min:s)")
        figure.legend(
            handles=[Patch(color=colour(label), label=readable(class_name(card, label))) for label in shown],
            loc="outside lower center",
            ncols=6,
            frameon=False,
        )
    return figure


def draw_group(ax: Axes, group: str, recording: Recording, time: np.ndarray) -> None:
    """Draws the signals of one group, with breaks at gaps."""
    members = [i for i, channel in enumerate(recording.channels) if channel.group == group]
    units = list(dict.fromkeys(recording.channels[i].unit for i in members))
    breaks = recording.starts[1:]
    many = len(members) > MOST_NAMED
    for n, i in enumerate(members):
        # Rasterised: a vector file with every sample would take megabytes.
        ax.plot(
            np.insert(time, breaks, time[breaks]),
            np.insert(recording.signals[:, i], breaks, np.nan),
            color=LINES[n % len(LINES)],
            lw=0.35 if many else 0.6,
            alpha=0.5 if many else 0.9,
            rasterized=True,
            label=recording.channels[i].name,
        )
    ax.set_ylabel(f"{group} [{', '.join(units)}]" if len(units) < 3 else group)
    ax.yaxis.set_major_locator(MaxNLocator(4))
    if not many:
        legend = ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, handlelength=1)
        for line in legend.get_lines():
            line.set_linewidth(2)


def draw_confidence(ax: Axes, events: Sequence[Event]) -> None:
    """Draws the probability of each prediction, in the middle of its window."""
    middle = np.array([(event.start + event.end) / 2 for event in events])
    sure = np.array([event.confidence for event in events])
    breaks = [i for i in range(1, len(events)) if events[i].stretch != events[i - 1].stretch]
    ax.plot(np.insert(middle, breaks, middle[breaks]), np.insert(sure, breaks, np.nan), color=LINES[1], lw=0.8)
    ax.set_ylim(0, 1.05)
    ax.set_yticks([0, 1])
    ax.set_ylabel("confidence", rotation=0, ha="right", va="center")


def draw_band(ax: Axes, name: str, segments: Sequence[Segment], card: ModelCard, letter: float) -> None:
    """Draws segments as coloured blocks, with their names if they fit; `letter` is the width of a letter in seconds."""
    for segment in segments:
        length = segment.end - segment.start
        ax.barh(0, length, left=segment.start, height=1, color=colour(segment.label), lw=0)
        text = readable(class_name(card, segment.label))
        if length > letter * len(text):
            middle = segment.start + length / 2
            ax.text(middle, 0, text, ha="center", va="center", color=text_colour(colour(segment.label)), fontsize=6.5)
    ax.set_ylim(-0.5, 0.5)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_ylabel(name, rotation=0, ha="right", va="center")


def save_timeline(figure: Figure, path: Path) -> None:
    """Writes path.png and path.svg, each atomically."""
    with matplotlib.rc_context(STYLE):
        save_figure(figure, path, RESOLUTION)


def colour(label: int) -> str:
    """Returns the colour of a class, or of `UNKNOWN`."""
    return UNKNOWN_COLOUR if label == UNKNOWN else CLASS_COLOURS[label % len(CLASS_COLOURS)]


def text_colour(background: str) -> str:
    """Returns black or white, whichever has more contrast with a colour."""
    red, green, blue = (int(background[i : i + 2], 16) for i in (1, 3, 5))
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#ffffff"


def readable(name: str) -> str:
    """Returns a class name with blanks for underscores."""
    return name.replace("_", " ")


def clock(seconds: float, _: int | None = None) -> str:
    """Formats seconds as minutes and seconds, as '1:15'."""
    whole = round(abs(seconds))
    return f"{'-' if seconds < 0 else ''}{whole // 60}:{whole % 60:02d}"
