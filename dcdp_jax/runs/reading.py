"""Readers of the files of a run. Errors name the file that is damaged or has a value out of range."""

import csv
import functools
import io
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dcdp_jax.errors import CheckpointError
from dcdp_jax.runs import files, schemas
from dcdp_jax.runs.schemas import EDITED, decode

# First columns of predictions.csv; the probabilities of all classes follow.
COLUMNS = ("recording", "start", "subject", "true", "predicted", "confidence")
WINDOW_COLUMNS = COLUMNS[:4]


class Predictions(NamedTuple):
    """The test windows in order."""

    subjects: list[str]  # n names
    right: np.ndarray  # (n,) bool, whether the predicted class is the true one
    confidence: np.ndarray  # (n,) float32 probability of the predicted class
    # the `WINDOW_COLUMNS` of each of the n windows, which identify it and end with its true class
    windows: Sequence[tuple[str, ...]] = ()
    probabilities: np.ndarray | None = None  # (n, k) float32 of the classes; None where the file does not hold them

    def by_subject(self) -> dict[str, np.ndarray]:
        """Returns {subject: bool of each of its windows, whether it is right}."""
        names = np.array(self.subjects)
        return {name: self.right[names == name] for name in dict.fromkeys(self.subjects)}


class FinishedRun(NamedTuple):
    """The content of the files of a finished run; None for a file that the run does not have."""

    result: dict[str, Any]
    config: dict[str, Any]
    steps: list[dict[str, Any]]
    epochs: list[dict[str, Any]]
    predictions: Predictions | None
    worst: dict[str, Any] | None
    robustness: dict[str, Any] | None
    segments: dict[str, Any] | None
    calibration: dict[str, Any] | None


def read_run(workdir: Path) -> FinishedRun:
    """Reads all files of a finished run; raises CheckpointError if one is damaged, or a necessary one is missing."""
    result = read_result(workdir)
    if "ensemble" in result:
        raise CheckpointError(
            f"{workdir} holds an ensemble, which has no config and no log of its own; name the runs it was made from"
        )
    if files.ADAPTED in result["marks"]:
        raise CheckpointError(
            f"{workdir} holds an adapted model, which has no log or scores of its own; name the run it was made from"
        )
    steps, epochs = read_metrics(workdir)
    predictions = read_predictions(workdir, result)
    return FinishedRun(
        result,
        read_config(workdir),
        steps,
        epochs,
        predictions,
        read_worst_windows(workdir),
        read_measured(workdir, files.ROBUSTNESS, schemas.Robustness),
        read_measured(workdir, files.SEGMENTS, schemas.SegmentGrades),
        read_measured(workdir, files.CALIBRATION, schemas.Calibrated),
    )


def read_result(workdir: Path) -> dict[str, Any]:
    """Reads result.json; see `dcdp_jax.runs.schemas.Result`. Warns on standard error if the folder has no digests.

    Raises CheckpointError if it is missing or damaged, or its confusion matrix does not fit its classes.
    """
    result = read_json(workdir, files.RESULT, schemas.Result)
    if not (workdir / files.DIGESTS).exists():
        warn_unverified(workdir)
    k, rows = len(result["class_names"]), result["confusion"]
    if [len(row) for row in rows] != [k] * k:
        raise CheckpointError(
            f"{workdir / files.RESULT}: confusion is not {k} x {k}, as class_names has {k} names; {EDITED}"
        )
    return result


def seconds_of(result: Mapping[str, Any]) -> float:
    """Returns the seconds of training of a run: its share, if one program trained several runs at once."""
    return float(result["wall_seconds"]) / int(result.get("at_once", 1))


def rate_of(result: Mapping[str, Any]) -> float:
    """Returns the training windows per second, those of all runs if one program trained several at once."""
    return float(result["windows_per_second"]) * int(result.get("at_once", 1))


@functools.cache
def warn_unverified(workdir: Path) -> None:
    """Warns on standard error, once per folder, that its files cannot be verified."""
    why = f"{workdir} has no {files.DIGESTS}: it was removed, or an earlier version wrote the run"
    print(f"warning: {why}; its files are read unverified", file=sys.stderr)


def read_config(workdir: Path) -> dict[str, Any]:
    """Reads config.json: the nested configuration; raises CheckpointError where it is missing or damaged."""
    return read_json(workdir, files.CONFIG, dict[str, Any])


def read_metrics(workdir: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns the step records of a finished run in order of step, and its epoch records in order of epoch.

    Where a step was logged twice, the later line counts. See `dcdp_jax.runs.schemas`. Raises CheckpointError where
    metrics.jsonl is missing or damaged; the message names the line.
    """
    lines = files.read_recorded(workdir, files.METRICS).removesuffix(b"\n").split(b"\n")
    records = parse_records(lines if lines != [b""] else [], workdir / files.METRICS)
    found = [{r[kind]: r for r in records if r["kind"] == kind} for kind in ("step", "epoch")]
    steps, epochs = ([record[number] for number in sorted(record)] for record in found)
    return steps, epochs


def parse_records(lines: Sequence[bytes], path: Path) -> list[dict[str, Any]]:
    """Parses lines of metrics.jsonl; raises CheckpointError, which names the line, if one is not a record."""
    records: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}"
        record: Any = decode(line, dict[str, Any], where)
        decode(line, schemas.EpochRecord if record.get("kind") == "epoch" else schemas.StepRecord, where)
        records.append(record)
    return records


def read_predictions(workdir: Path, result: dict[str, Any]) -> Predictions | None:
    """Reads predictions.csv; None if there is none.

    Raises CheckpointError if it is damaged, or does not belong to this result.
    """
    path, names = workdir / files.PREDICTIONS, result["class_names"]
    if not path.exists():
        return None
    try:
        text = files.read_recorded(workdir, files.PREDICTIONS).decode()
        head, *rows = csv.reader(io.StringIO(text, newline=""))
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise CheckpointError(f"{path}: {error}; {EDITED}") from None
    if tuple(head[: len(COLUMNS)]) != COLUMNS:
        raise CheckpointError(f"{path}: the columns are {', '.join(head[:6])}, expected {', '.join(COLUMNS)} first")
    further = head[len(COLUMNS) :]
    if further and further != probability_columns(names):
        found = f"the last columns are not the probabilities of the classes of {files.RESULT}"
        raise CheckpointError(f"{path}: {found}; {EDITED}")
    described: list[tuple[str, ...]] = []
    right, shares = [], []
    for number, row in enumerate(rows, start=2):
        try:
            recording, start, subject, true, predicted, *given = row
            values = [float(share) for share in given]
        except ValueError:
            values = []
        if len(values) != 1 + len(further):
            raise CheckpointError(f"{path}, row {number}: not a window with a confidence; {EDITED}")
        if not {true, predicted} <= set(names) or not all(0 <= value <= 1.001 for value in values):
            found = f"{true!r}, {predicted!r}, {', '.join(given)}"
            raise CheckpointError(f"{path}, row {number}: {found} do not fit the classes of {files.RESULT}")
        described.append((recording, start, subject, true))
        right.append(true == predicted)
        shares.append(values)
    # Not the predicted classes: probabilities of two classes may round to the same float32 where their logits differ.
    windows = Counter(window[-1] for window in described)
    if [windows[name] for name in names] != [sum(row) for row in result["confusion"]]:
        found = f"{len(rows)} windows that are not those of {files.RESULT}'s confusion"
        raise CheckpointError(f"{path} holds {found}; {EDITED}")
    subjects = [subject for _, _, subject, _ in described]
    numbers = np.array(shares, np.float32).reshape(len(rows), 1 + len(further))
    return Predictions(subjects, np.array(right, bool), numbers[:, 0], described, numbers[:, 1:] if further else None)


def true_labels(windows: Sequence[Sequence[str]], names: Sequence[str]) -> np.ndarray:
    """Returns the (n,) true classes, as indices into the names, of the windows of `Predictions`."""
    index = {name: i for i, name in enumerate(names)}
    return np.array([index[window[-1]] for window in windows], np.int64)


def probability_columns(names: Sequence[str]) -> list[str]:
    """Returns the columns of predictions.csv that follow `COLUMNS`, one for each class."""
    return [f"probability of {name}" for name in names]


def read_worst_windows(workdir: Path) -> dict[str, Any] | None:
    """Reads worst_windows.json, with `values` as (t, c) arrays; None if there is none.

    Raises CheckpointError if it is damaged.
    """
    path = workdir / files.WORST_WINDOWS
    worst = read_measured(workdir, files.WORST_WINDOWS, schemas.WorstWindows)
    if worst is None:
        return None
    channels = len(worst["channels"])
    for window in worst["windows"]:
        if {len(row) for row in window["values"]} != {channels}:
            raise CheckpointError(f"{path}: a window has not one value for each of {channels} channels; {EDITED}")
        window["values"] = np.array(window["values"], float)
    return worst


def read_measured(workdir: Path, name: str, schema: Any) -> dict[str, Any] | None:
    """Reads a file that not every run has; None if there is none. Raises CheckpointError if it is damaged."""
    return read_json(workdir, name, schema) if (workdir / name).exists() else None


def read_json(workdir: Path, name: str, schema: Any) -> dict[str, Any]:
    """Reads a JSON file of a run and checks it by a schema; raises CheckpointError where it is missing or damaged."""
    return decode(files.read_recorded(workdir, name), schema, workdir / name)
