"""Writes predictions.csv and worst_windows.json: every test window, and the signals of the most confident errors."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dcdp_jax.data.dataset import Dataset
from dcdp_jax.runs.files import PREDICTIONS, WORST_WINDOWS, as_csv, write_recorded
from dcdp_jax.runs.reading import COLUMNS, probability_columns

WORST = 6


def write_predictions(workdir: Path, dataset: Dataset, probabilities: np.ndarray) -> None:
    """Writes `predictions.csv` and `worst_windows.json` from the (n, k) float32 probabilities of all test windows."""
    rows = describe_windows(dataset, probabilities)
    write_table(workdir, rows, dataset.class_names, probabilities)
    write_recorded(workdir, WORST_WINDOWS, json.dumps(worst_windows(dataset, rows), allow_nan=False) + "\n")


def write_table(
    workdir: Path, rows: Sequence[Mapping[str, Any]], names: Sequence[str], probabilities: np.ndarray
) -> None:
    """Writes `predictions.csv`: the `COLUMNS` of every test window, and (n, k) float32 probabilities of the classes."""
    # Nine digits restore a float32 exactly, so that bins computed from the file are those of result.json.
    lines = (
        [*(row[name] for name in COLUMNS[:-1]), *(f"{p:.9g}" for p in (row["confidence"], *given))]
        for row, given in zip(rows, probabilities.tolist(), strict=True)
    )
    write_recorded(workdir, PREDICTIONS, as_csv([*COLUMNS, *probability_columns(names)], lines))


def describe_windows(dataset: Dataset, probabilities: np.ndarray) -> list[dict[str, Any]]:
    """Returns the `COLUMNS` of every test window; `start` is its first sample in the recording."""
    split = dataset.splits["test"]
    recording = np.searchsorted(dataset.offsets, split.starts, side="right") - 1
    answers = probabilities.argmax(axis=1), probabilities.max(axis=1)
    columns = recording, split.starts, split.subjects, split.labels, *answers
    return [
        {
            "recording": dataset.runs[r],
            "start": start - int(dataset.offsets[r]),
            "subject": dataset.subject_names.get(subject, str(subject)),
            "true": dataset.class_names[true],
            "predicted": dataset.class_names[guess],
            "confidence": confidence,
        }
        for r, start, subject, true, guess, confidence in zip(*(column.tolist() for column in columns), strict=True)
    ]


def worst_windows(dataset: Dataset, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Selects the most confident wrong window of each confusion, and returns the most confident of these.

    The most confident errors over all windows would often be overlapping windows of one movement. See
    `dcdp_jax.runs.schemas.WorstWindows`; samples are in the units of the recordings.
    """
    first: dict[tuple[str, str], int] = {}
    for i in sorted(range(len(rows)), key=lambda i: -rows[i]["confidence"]):
        if rows[i]["true"] != rows[i]["predicted"]:
            first.setdefault((rows[i]["true"], rows[i]["predicted"]), i)
    chosen = list(first.values())[:WORST]
    starts = dataset.splits["test"].starts
    values = [dataset.signals[starts[i] : starts[i] + dataset.window] for i in chosen]
    return {
        "rate": float(dataset.rate),
        "channels": [channel._asdict() for channel in dataset.channels],
        "windows": [
            {**rows[i], "values": [[float(f"{v:.5g}") for v in sample] for sample in x.tolist()]}
            for i, x in zip(chosen, values, strict=True)
        ],
    }
