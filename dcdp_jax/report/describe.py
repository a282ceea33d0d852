"""Writes the description of a data set, from a summary of it: one self-contained page, and lines for a terminal."""

import pathlib
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from dcdp_jax.report import tables
from dcdp_jax.report.examples import Window, colour_table, window_charts
from dcdp_jax.report.page import figures, make_page, marks, section, tiles, write_page

MANY_CHANNELS = 24
LINES_SHOWN = 6
NO_CLASS = "none of these"
CHANNEL_NOTE = (
    "Statistics of all samples of the protocol, before normalisation. Missing values are those of the files, before "
    "any was filled in."
)


def write_description(workdir: pathlib.Path, summary: Mapping[str, Any]) -> pathlib.Path:
    """Writes `describe.html`.

    Args:
      workdir: an existing folder.
      summary: what `dcdp_jax.data.summary.summarize` makes.

    Returns:
      Path of the page.

    Raises:
      OSError: the page could not be written.
    """
    channels = summary["channels"]
    sections = [
        section("Parts", tables.split_table(summary), "What proves that they are apart stands under «What was found»."),
        section("Class balance", _balance_table(summary), "Windows of each part, and their share of it."),
        section(
            "Subjects and classes",
            _minutes_table(summary),
            f"Minutes of all that was read, in no part or in several. {escape(summary['minutes_note'])}",
        ),
        section(
            "Example windows",
            colour_table(channels) + figures(window_charts(channels, summary["rate"], _example_windows(summary))),
            "One window per class, the middle one of its training windows, in the units of the recordings and with "
            "the same axes for all classes. Of each group the first channels are drawn:",
        ),
        _channel_section(summary),
        section("What was found", _list(summary["notes"])),
        section("Origin", tables.table([], _origin(summary), "texts")),
    ]
    title = f"{summary['dataset']} · {summary['protocol']}"
    return write_page(workdir / "describe.html", make_page(title, _header(summary) + "\n".join(sections)))


def description_lines(summary: Mapping[str, Any]) -> str:
    """Returns lines for a terminal: the data, its parts, and the balance of the classes."""
    names, windows = summary["class_names"], summary["windows"]
    found = f" [{', '.join(summary['marks'])}]" if summary["marks"] else ""
    parts = ", ".join(f"{part} {windows[part]:,} ({_subjects(summary, part)})" for part in windows)
    minutes = _class_minutes(summary)
    lacking = [note for note in summary["notes"] if note.startswith("incomplete")]
    head = ["class", "minutes", *windows]
    rows = [[name, f"{minutes[name]:,.1f}", *(f"{summary['counts'][p][name]:,}" for p in windows)] for name in names]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    table = [
        "  ".join([first.ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(rest, widths[1:], strict=True))])
        for first, *rest in (head, *rows)
    ]
    return "\n".join(
        [
            f"{summary['dataset']}{found}. {_protocol(summary)}: {len(summary['minutes'])} subjects, "
            f"{len(names)} classes, {len(summary['channels'])} channels at {summary['rate']:g} Hz, "
            f"{sum(minutes.values()) / 60:,.1f} hours with a class",
            f"Windows of {_seconds(summary, 'window')}, every {_seconds(summary, 'step')}: {parts}",
            *table,
            *([summary["minutes_note"]] if summary["minutes_note"] else []),
            *(note for note in summary["notes"] if " subjects by " in note),
            *lacking[:LINES_SHOWN],
            *([f"... and {len(lacking) - LINES_SHOWN} more on the page"] if len(lacking) > LINES_SHOWN else []),
        ]
    )


def _header(summary: Mapping[str, Any]) -> str:
    minutes = _class_minutes(summary)
    scores = {
        "Subjects": f"{len(summary['minutes'])}",
        "Classes": f"{len(summary['class_names'])}",
        "Hours with a class": f"{sum(minutes.values()) / 60:,.1f}",
        "Windows": f"{sum(summary['windows'].values()):,}",
    }
    facts = {
        "Channels": f"{len(summary['channels'])}",
        "Samples per second": f"{summary['rate']:g}",
        "Window": _seconds(summary, "window"),
        "Step": _seconds(summary, "step"),
        "Label of a window": summary["label_rule"],
        "Normalisation": summary["normalize"],
    }
    return (
        f"<header><h1>{escape(summary['dataset'])}</h1>\n"
        f'<p class="subtitle">{escape(_protocol(summary))}</p>\n'
        + marks(summary["marks"])
        + tiles("scores", scores)
        + tiles("facts", facts)
        + "</header>\n"
    )


def _protocol(summary: Mapping[str, Any]) -> str:
    fold = "" if summary["fold"] is None else f", fold {summary['fold']}"
    return f"Protocol {summary['protocol']}{fold}"


def _seconds(summary: Mapping[str, Any], field: str) -> str:
    return f"{summary[field]} samples ({summary[field] / summary['rate']:.3g} s)"


def _subjects(summary: Mapping[str, Any], part: str) -> str:
    count = len(summary["subjects"][part])
    return f"{count} subject{'s' if count > 1 else ''}"


def _class_minutes(summary: Mapping[str, Any]) -> dict[str, float]:
    """Returns the minutes of each class, summed over the subjects."""
    return {name: sum(row[name] for row in summary["minutes"].values()) for name in summary["class_names"]}


def _balance_table(summary: Mapping[str, Any]) -> str:
    parts = list(summary["windows"])
    head = ["Class", *(title for part in parts for title in (part.capitalize(), "%"))]
    rows = []
    for name in summary["class_names"]:
        row = [name]
        for part in parts:
            count = summary["counts"][part][name]
            row += [f"{count:,}", f"{100 * count / max(summary['windows'][part], 1):.1f}"]
        rows.append(row)
    total = [cell for part in parts for cell in (f"{summary['windows'][part]:,}", "")]
    return tables.table(head, [*rows, ["All", *total]])


def _minutes_table(summary: Mapping[str, Any]) -> str:
    """Writes the minutes by subject and class, shaded by size; unlabelled time and sums are not shaded."""
    names, minutes = summary["class_names"], summary["minutes"]
    most = max((row[name] for row in minutes.values() for name in names), default=0) or 1
    unlabelled = any(row[""] for row in minutes.values())
    rows = []
    for subject, row in minutes.items():
        cells = [(_minutes(row[n]), row[n] / most, f"subject {subject}, {n}: {60 * row[n]:,.0f} s") for n in names]
        rows.append([*cells, (_minutes(sum(row[n] for n in names)), 0.0, f"subject {subject}, all classes")])
        if unlabelled:
            rows[-1].append((_minutes(row[""]), 0.0, f"subject {subject}, {NO_CLASS}"))
    sums = _class_minutes(summary)
    last = [*sums.values(), sum(sums.values())]
    if unlabelled:
        last.append(sum(row[""] for row in minutes.values()))
    rows.append([(_minutes(value), 0.0, "all subjects") for value in last])
    columns = [*names, "all classes", *([NO_CLASS] if unlabelled else [])]
    return tables.shaded_table("subject ↓ \xa0 class →", columns, [*minutes, "all"], rows)


def _minutes(value: float) -> str:
    return "0" if value == 0 else f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _example_windows(summary: Mapping[str, Any]) -> list[Window]:
    return [
        Window(name, f"Subject {example['subject']}, {example['part']}.", np.array(example["values"], float))
        for name, example in summary["examples"].items()
    ]


def _channel_section(summary: Mapping[str, Any]) -> str:
    head = ["Channel", "Group", "Device", "Unit", "Mean", "Deviation", "Lowest", "Highest", "Missing values"]
    rows = [
        [channel["name"], channel["group"], channel["site"], channel["unit"]]
        + [f"{channel[key]:.4g}" for key in ("mean", "deviation", "lowest", "highest")]
        + [f"{channel['missing']:,}"]
        for channel in summary["channels"]
    ]
    content = tables.table(head, rows, "numbers channels")
    if len(rows) > MANY_CHANNELS:
        content = f"<details><summary>All {len(rows)}</summary>{content}</details>"
    return section("Channels", content, CHANNEL_NOTE)


def _list(sentences: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<ul class="notes">{items}</ul>' if items else ""


def _origin(summary: Mapping[str, Any]) -> list[list[str]]:
    return [["Data fingerprint", summary["data_fingerprint"]]]
