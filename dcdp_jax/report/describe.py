"""Writes the description of a data set from its summary: a self-contained page, and lines for a terminal."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from dcdp_jax.report.examples import Window, colour_table, window_charts
from dcdp_jax.report.page import write_page
from dcdp_jax.report.tables import Shaded, Table, split_table
from dcdp_jax.runs.files import DESCRIPTION, marks_suffix

LINES_SHOWN = 6
NO_CLASS = "none of these"
# Columns of the table of channels.
IDENTITY = {"name": "Channel", "group": "Group", "site": "Device", "unit": "Unit"}
STATISTICS = {"mean": "Mean", "deviation": "Standard deviation", "lowest": "Lowest", "highest": "Highest"}


def write_description(workdir: pathlib.Path, summary: Mapping[str, Any]) -> pathlib.Path:
    """Writes `describe.html` from a summary of `dcdp_jax.data.summary.summarize`, and returns its path."""
    channels, parts, counts = summary["channels"], summary["windows"], summary["counts"]
    balance = []
    for name in summary["class_names"]:
        shares = [(counts[part][name], 100 * counts[part][name] / max(parts[part], 1)) for part in parts]
        balance.append([name, *(cell for count, share in shares for cell in (f"{count:,}", f"{share:.1f}"))])
    balance.append(["All", *(cell for count in parts.values() for cell in (f"{count:,}", ""))])
    facts = [
        [*(channel[key] for key in IDENTITY), *(f"{channel[key]:.4g}" for key in STATISTICS), f"{channel['missing']:,}"]
        for channel in channels
    ]
    windows = [
        Window(name, f"Subject {example['subject']}, {example['part']}.", np.array(example["values"], float))
        for name, example in summary["examples"].items()
    ]
    return write_page(
        workdir / DESCRIPTION,
        summary=summary,
        protocol=_protocol(summary),
        hours=_hours(summary),
        window=_seconds(summary, "window"),
        step=_seconds(summary, "step"),
        parts=split_table(parts, summary["subjects"]),
        balance=Table(["Class", *(title for part in parts for title in (part.capitalize(), "%"))], balance),
        minutes=_minutes_table(summary),
        examples={"colours": colour_table(channels), "charts": window_charts(channels, summary["rate"], windows)},
        channels=Table([*IDENTITY.values(), *STATISTICS.values(), "Missing values"], facts, "numbers channels"),
    )


def description_lines(summary: Mapping[str, Any]) -> str:
    """Returns lines for a terminal: the data, its parts, and the balance of the classes."""
    names, windows = summary["class_names"], summary["windows"]
    people = {part: len(names) for part, names in summary["subjects"].items()}
    parts = ", ".join(f"{p} {windows[p]:,} ({people[p]} subject{'s' if people[p] > 1 else ''})" for p in windows)
    minutes = _class_minutes(summary)
    own = summary["own_tables"]  # all notes on tables of one's own are printed
    notes = [note for note in summary["notes"] if own or note.startswith("incomplete")]
    most = len(notes) if own else LINES_SHOWN
    rows = [["class", "minutes", *windows]]
    rows += [[name, f"{minutes[name]:,.1f}", *(f"{summary['counts'][p][name]:,}" for p in windows)] for name in names]
    first, *others = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join([name.ljust(first), *map(str.rjust, cells, others)]) for name, *cells in rows]
    return "\n".join(
        [
            f"{summary['dataset']}{marks_suffix(summary['marks'])}. {_protocol(summary)}: "
            f"{len(summary['minutes'])} subjects, {len(names)} classes, {len(summary['channels'])} channels at "
            f"{summary['rate']:g} Hz, {_hours(summary)} hours with a class",
            f"Windows of {_seconds(summary, 'window')}, every {_seconds(summary, 'step')}: {parts}",
            *table,
            *([summary["minutes_note"]] if summary["minutes_note"] else []),
            *notes[:most],
            *([f"... and {len(notes) - most} more on the page"] if len(notes) > most else []),
        ]
    )


def _protocol(summary: Mapping[str, Any]) -> str:
    fold = "" if summary["fold"] is None else f", fold {summary['fold']}"
    return f"Protocol {summary['protocol']}{fold}"


def _seconds(summary: Mapping[str, Any], field: str) -> str:
    return f"{summary[field]} samples ({summary[field] / summary['rate']:.3g} s)"


def _class_minutes(summary: Mapping[str, Any]) -> dict[str, float]:
    """Returns the minutes of each class, summed over the subjects."""
    return {name: sum(row[name] for row in summary["minutes"].values()) for name in summary["class_names"]}


def _hours(summary: Mapping[str, Any]) -> str:
    return f"{sum(_class_minutes(summary).values()) / 60:,.1f}"


def _minutes_table(summary: Mapping[str, Any]) -> Shaded:
    """Returns the minutes by subject and class, shaded by size; unlabelled time and sums are not shaded."""
    names, minutes = summary["class_names"], summary["minutes"]
    most = max((row[name] for row in minutes.values() for name in names), default=0) or 1
    unlabelled = any(row[""] for row in minutes.values())
    rows = []
    for subject, row in minutes.items():
        cells = [(_minutes(row[n]), row[n] / most, f"subject {subject}, {n}: {60 * row[n]:,.0f} s") for n in names]
        sums = {"all classes": sum(row[n] for n in names)} | ({NO_CLASS: row[""]} if unlabelled else {})
        rows.append((subject, cells + [(_minutes(v), 0.0, f"subject {subject}, {name}") for name, v in sums.items()]))
    by_class = list(_class_minutes(summary).values())
    totals = [*by_class, sum(by_class)] + ([sum(row[""] for row in minutes.values())] if unlabelled else [])
    rows.append(("all", [(_minutes(value), 0.0, "all subjects") for value in totals]))
    columns = [*names, "all classes", *([NO_CLASS] if unlabelled else [])]
    return Shaded("subject ↓ \xa0 class →", columns, rows)


def _minutes(value: float) -> str:
    return "0" if value == 0 else f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"
