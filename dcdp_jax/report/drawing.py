"""Draws charts as SVG elements, which follow the light or dark colours of their page, and writes figures as files."""

import contextlib
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dcdp_jax.runs.files import write_atomically

INK = "#1b1f24"
GRID = "#d5d9de"
PALETTE = ("#1f6fb4", "#c8540a", "#1a8a5f", "#8a5bb5", "#1592a8", "#c0304f", "#9a7200", "#6b7280")
VARIABLES = {INK: "--ink", GRID: "--line"} | {colour: f"--series-{i}" for i, colour in enumerate(PALETTE, start=1)}
# The CSS variable of each colour, with the colour itself as the fallback.
CSS_COLOURS = {colour: f"var({name}, {colour})" for colour, name in VARIABLES.items()}
# Names of classes, people and files may contain dollar signs, which are not formulas.
PLAIN_TEXT = {"text.parse_math": False}
STYLE: dict[Any, Any] = PLAIN_TEXT | {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.formatter.useoffset": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
# Style of the figures that are written as files: those of studies and timelines.
FIGURE_STYLE: dict[Any, Any] = PLAIN_TEXT | {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "dcdp_jax",
}
MAX_POINTS = 150
MAX_MARKERS = 40
SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"


class Line(NamedTuple):
    """One curve; validation curves are dashed."""

    label: str
    colour: str
    x: np.ndarray
    y: np.ndarray
    validation: bool = False


class Chart(NamedTuple):
    """A finished chart: its heading, a sentence on how to read it, and the SVG element."""

    title: str
    caption: str
    svg: str


class Panel(NamedTuple):
    """Curves over a common vertical axis, one of several panels above each other."""

    label: str
    lines: Sequence[Line]
    limits: tuple[float, float]


def draw(
    name: str,
    title: str,
    caption: str,
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    scale: str = "linear",
    mark: float | None = None,
) -> list[Chart]:
    """Draws one chart. Curves without a finite value are left out.

    Args:
      name: Prefix of all ids in the SVG element, unique on its page.
      title: Heading.
      caption: Sentence on how to read the chart.
      lines: Curves.
      x_label: Label of the horizontal axis.
      y_label: Label of the vertical axis.
      scale: `linear`; `unit` from 0 to 1, or as far as the values reach; `cosine` for values from -1 to 1; `ratio` for
        values around 1; or `log`, which is linear if the values span less than a factor of five.
      mark: Place of a dotted line on the horizontal axis, or None.

    Returns:
      A list of the chart, which is empty if no curve is left.
    """
    lines = [line for line in lines if np.isfinite(line.y).any()]
    counts = all(np.all(line.x % 1 == 0) for line in lines)
    if not lines:
        return []
    with page_style():
        figure = Figure(figsize=(4.8, 3.0), layout="constrained")
        axes = figure.add_subplot()
        for line in lines:
            _plot(axes, line)
        _scale(axes, scale, np.concatenate([line.y for line in lines]))
        if mark is not None:
            axes.axvline(mark, color=INK, linestyle=":", linewidth=1)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(nbins=7, integer=counts))
        handles, labels = axes.get_lines()[: len(lines)], [line.label for line in lines]
        columns = 2 if max(map(len, labels)) > 12 else 3
        figure.legend(handles, labels, loc="outside upper left", ncols=columns, frameon=False, fontsize=9)
        return [Chart(title, caption, svg_element(figure, name, title))]


def draw_panels(name: str, title: str, caption: str, panels: Sequence[Panel]) -> Chart:
    """Draws panels above each other, over one axis of seconds and without a legend; for name and texts see `draw`."""
    with page_style():
        figure = Figure(figsize=(4.8, 0.5 + 1.15 * len(panels)), layout="constrained")
        for axes, panel in zip(figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0], panels, strict=True):
            for line in panel.lines:
                axes.plot(line.x, line.y, color=line.colour, linewidth=1.1)
            axes.set_ylim(panel.limits)
            axes.set_ylabel(panel.label)
            axes.margins(x=0.01)
            axes.yaxis.set_major_locator(ticker.MaxNLocator(nbins=4))
        axes.set_xlabel("seconds")
        figure.align_ylabels()
        return Chart(title, caption, svg_element(figure, name, title))


def save_figure(figure: Figure, path: Path, dpi: int) -> Path:
    """Writes PATH.png and PATH.svg, each atomically, and returns the path of the SVG file."""
    for suffix, metadata in ((".png", None), (".svg", {"Date": None})):
        picture = io.BytesIO()
        figure.savefig(picture, format=suffix[1:], dpi=dpi, metadata=metadata)
        write_atomically(path.with_suffix(suffix), picture.getvalue())
    return path.with_suffix(".svg")


@contextlib.contextmanager
def page_style() -> Iterator[None]:
    """Sets matplotlib's style for the pages."""
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # The SVG keeps text as text, so the browser's fonts supply the glyphs that matplotlib's font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _plot(axes: Axes, line: Line) -> None:
    """Plots one curve; beyond `MAX_POINTS`, the mean and range of groups of neighbouring points."""
    x, y = line.x, line.y
    marker = "o" if len(x) <= MAX_MARKERS else ""
    if len(x) > MAX_POINTS:
        groups = np.array_split(np.arange(len(x)), MAX_POINTS)
        low, high = (np.array([reduce(y[group]) for group in groups]) for reduce in (np.min, np.max))
        x, y = (np.array([values[group].mean() for group in groups]) for values in (x, y))
        axes.fill_between(x, low, high, color=line.colour, alpha=0.18, linewidth=0)
    style = "--" if line.validation else "-"
    axes.plot(x, y, style, color=line.colour, marker=marker, markersize=2.5, linewidth=1.3)


def _scale(axes: Axes, scale: str, values: np.ndarray) -> None:
    """Sets the vertical axis as `draw` describes it."""
    if scale == "unit":
        low, high = np.nanmin(values, initial=0), np.nanmax(values, initial=1)
        axes.set_ylim(low - 0.02 * (high - low), high + 0.02 * (high - low))
    if scale == "cosine":
        axes.set_ylim(-1.04, 1.04)
        axes.axhline(0, color=INK, linewidth=0.8)
    if scale == "ratio":
        axes.axhline(1, color=INK, linewidth=0.8)
    positive = values[values > 0]
    span = positive.max() / positive.min() if positive.size else 1.0
    # Over less than a factor of five, 1-2-5 ticks may leave an axis with a single label.
    if span >= 5 and (scale == "log" or (scale == "ratio" and positive.max() > 5)):
        axes.set_yscale("log")
        subdivisions = (1.0, 2.0, 5.0) if span < 300 else (1.0,)
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=subdivisions, numticks=12))
        axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(ticker.NullLocator())


def svg_element(figure: Figure, name: str, title: str) -> str:
    """Returns a figure as one SVG element with ids of its own, the page's font and colours, and no metadata."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    root = ElementTree.fromstring(buffer.getvalue())
    for element in root.iter():
        if element.tag == f"{{{SVG}}}g":
            element.attrib.pop("id", None)
        for attribute, value in element.items():
            if attribute == "id":
                value = f"{name}-{value}"
            elif attribute == f"{{{XLINK}}}href":
                value = value.replace("#", f"#{name}-")
            elif attribute == "style":
                value = value.replace("'DejaVu Sans', sans-serif", "system-ui, sans-serif")
                value = re.sub("#[0-9a-f]{6}", lambda match: CSS_COLOURS.get(match[0], match[0]), value)
            elif attribute == "d":
                value = re.sub(r"\d+\.\d+", lambda match: f"{float(match[0]):.2f}", value)
            element.set(attribute, value.replace("url(#", f"url(#{name}-"))
    for attribute in ("width", "height"):
        del root.attrib[attribute]
    root.set("role", "img")
    root.set("aria-label", title)
    return ElementTree.tostring(root, encoding="unicode")
