"""The user's own recordings: CSV or Parquet tables, columns named in `data.table`. See docs/your_own_data.md."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from ml_collections import ConfigDict

from dcdp_jax.data.recording import UNLABELLED, Channel, Recording, Recordings
from dcdp_jax.data.resample import METHODS, MISSING, Even, resample
from dcdp_jax.data.table_files import as_text, find_files, read_file
from dcdp_jax.errors import ConfigError, DataError

SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
TIME_UNITS = (*SECONDS, "datetime")


class Rows(NamedTuple):
    """The rows of one recording, in the order of the file.

    Attributes:
      subject: its name.
      run: its name.
      time: (n,) seconds, rising.
      values: (n, c) float32, NaN where missing.
      labels: (n,) names, '' where there is none.
      repeated: rows left out because the row before has the same time.
    """

    subject: str
    run: str
    time: np.ndarray
    values: np.ndarray
    labels: np.ndarray
    repeated: int


class Sampled(NamedTuple):
    """A recording before its labels and its subject have numbers.

    Attributes:
      subject: its name.
      run: its name.
      even: its samples.
      labels: (t,) a name for each sample, '' where there is none.
    """

    subject: str
    run: str
    even: Even
    labels: np.ndarray


def read_tables(table: ConfigDict, raw_dir: str) -> Recordings:
    """Reads all tables.

    Args:
      table: the `data.table` part of a config.
      raw_dir: the folder of the files; '' takes the variable DCDP_RAW_DIR.

    Returns:
      The recordings: one per file, or per subject and recording of a file. Their runs are unique, their classes sorted.

    Raises:
      ConfigError: a field cannot be used.
      DataError: a file is missing or damaged; the message names file, line and column.
    """
    channels = check_fields(table)
    folder = raw_dir or os.environ.get("DCDP_RAW_DIR", "")
    if not folder:
        raise ConfigError("data.raw_dir is empty (and so is DCDP_RAW_DIR): name the folder with your tables")
    sampled, tally, missing = [], Counter[str](), np.zeros(len(channels), np.int64)
    for path in find_files(Path(folder).expanduser(), table.files):
        for rows in read_rows(path, table, [channel.name for channel in channels]):
            sampled.append(sample_rows(path, rows, table))
            tally["rows"] += len(rows.time)
            tally["repeated"] += rows.repeated
            missing += np.isnan(rows.values).sum(axis=0)
    names = sorted({label for part in sampled for label in set(part.labels)} - {""}, key=natural)
    codes = {name: code for code, name in enumerate(names)} | {"": UNLABELLED}
    numbers = number_subjects([part.subject for part in sampled])
    runs = Counter(part.run for part in sampled)
    recordings = [
        Recording(
            signals=part.even.values,
            labels=np.array([codes[label] for label in part.labels], np.int32),
            subject=numbers[part.subject],
            run=part.run if runs[part.run] == 1 else f"{part.subject}/{part.run}",
            rate=table.rate,
            channels=channels,
            starts=part.even.starts,
        )
        for part in sampled
    ]
    subject_names = {number: name for name, number in numbers.items() if name != str(number)}
    missing_values = {channel.name: count for channel, count in zip(channels, missing.tolist(), strict=True)}
    tally["missing"] = sum(missing_values.values())
    notes = make_notes(table, tally, recordings)
    return Recordings(recordings, tuple(names), subject_names, notes, missing_values=missing_values)


def sample_rows(path: Path, rows: Rows, table: ConfigDict) -> Sampled:
    """Resamples one recording."""
    even = resample(
        rows.time,
        rows.values,
        rate=table.rate,
        max_gap=table.max_gap,
        method=table.resample,
        missing=table.missing,
        keep_rows=not table.time,
    )
    if len(even.rows) == 0:
        raise DataError(f"{path}: recording {rows.run!r} has no sample at which all channels have values")
    return Sampled(rows.subject, rows.run, even, rows.labels[even.rows])


def check_fields(table: ConfigDict) -> tuple[Channel, ...]:
    """Checks every field of `data.table` that can be judged without the files.

    Returns:
      The channels.

    Raises:
      ConfigError: names the field, what came and what was expected.
    """
    for field, allowed in (("time_unit", TIME_UNITS), ("resample", METHODS), ("missing", MISSING)):
        if table[field] not in allowed:
            raise ConfigError(f"data.table.{field}={table[field]!r} is none of {', '.join(allowed)}")
    for field in ("rate", "max_gap"):
        if not 0 < table[field] < np.inf:
            raise ConfigError(f"data.table.{field}={table[field]!r} must be a positive number")
    if len(table.delimiter) != 1 or table.delimiter in '\r\n"':
        raise ConfigError(f"data.table.delimiter={table.delimiter!r} must be one character between fields")
    for field in ("files", "test", "validation"):
        if isinstance(table[field], str):
            raise ConfigError(f"data.table.{field}={table[field]!r} must be a tuple, as ({table[field]!r},)")
    shaped = bool(table.channels) and all(
        isinstance(entry, tuple | list) and len(entry) == 4 and all(isinstance(part, str) for part in entry)
        for entry in table.channels
    )
    if not shaped:
        raise ConfigError(
            f"data.table.channels={table.channels!r} must be (column, group, site, unit) for each channel, as "
            f"(('acc_x', 'acc', 'wrist', 'g'), ...)"
        )
    columns = [entry[0] for entry in table.channels]
    columns += [table[field] for field in ("time", "label", "subject", "recording") if table[field]]
    for column in columns:
        if columns.count(column) > 1:
            raise ConfigError(f"data.table: the column {column!r} is named twice")
    return tuple(Channel(*entry) for entry in table.channels)


def read_rows(path: Path, table: ConfigDict, channels: Sequence[str]) -> Iterator[Rows]:
    """The recordings of one file, in order of their first rows."""
    numbers, texts = list(channels), [table[f] for f in ("label", "subject", "recording") if table[f]]
    if table.time:
        (texts if table.time_unit == "datetime" else numbers).append(table.time)
    frame = read_file(path, numbers, texts, table.delimiter)
    kind = "row" if path.suffix.lower() == ".parquet" else "line"
    for field in ("subject", "recording"):
        if table[field] and (frame[table[field]] == "").any():
            at = frame.index[frame[table[field]] == ""][0]
            raise DataError(f"{path}, {kind} {at}, column {table[field]!r}: no {field}")
    for name in channels if table.missing == "error" else ():
        if frame[name].isna().any():
            at = frame.index[frame[name].isna()][0]
            raise DataError(
                f"{path}, {kind} {at}, column {name!r}: no value; data.table.missing is 'error', choose "
                f"'interpolate' or 'split' to allow this"
            )
    keys = [
        frame[table[field]].to_numpy(object) if table[field] else np.full(len(frame), path.stem, object)
        for field in ("subject", "recording")
    ]
    members: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(zip(*keys, strict=True)):
        members.setdefault(key, []).append(row)
    for (subject, run), rows in members.items():
        yield one_recording(path, subject, run, frame, np.array(rows), table, channels, kind)


def one_recording(
    path: Path,
    subject: str,
    run: str,
    frame: pd.DataFrame,
    members: np.ndarray,
    table: ConfigDict,
    channels: Sequence[str],
    kind: str,
) -> Rows:
    """The rows of a file that belong to one recording, with their times checked."""
    repeated = 0
    time = np.arange(len(members)) / table.rate
    if table.time:
        where = f"column {table.time!r}"
        time = in_seconds(frame[table.time].iloc[members], table.time_unit)
        lines = frame.index.to_numpy()[members]
        if np.isnan(time).any():
            at = int(np.argmax(np.isnan(time)))
            cell = as_text(frame[table.time].iloc[members[at]])
            raise DataError(
                f"{path}, {kind} {lines[at]}, {where}: " + (f"{cell[:40]!r} is not a time" if cell else "no time")
            )
        passed = np.diff(time)
        if (passed < 0).any():
            at = int(np.argmax(passed < 0))
            raise DataError(
                f"{path}, {kind} {lines[at + 1]}, {where}: time goes back by {-passed[at]:g} s within recording "
                f"{run!r} of subject {subject!r}; sort the rows, or name a column in data.table.recording"
            )
        new = np.append(True, passed > 0)
        repeated = int(np.sum(~new))
        members, time = members[new], time[new]
        if len(time) > 1 and (interval := float(np.median(np.diff(time)))) > table.max_gap:
            raise DataError(
                f"{path}: rows of recording {run!r} are {interval:g} s apart, farther than data.table.max_gap="
                f"{table.max_gap:g} s; is data.table.time_unit={table.time_unit!r} right?"
            )
    values = np.empty((len(members), len(channels)), np.float32)
    for column, name in enumerate(channels):
        values[:, column] = frame[name].to_numpy()[members]
    labels = frame[table.label].to_numpy(object)[members] if table.label else np.full(len(members), "", object)
    return Rows(subject, run, time, values, labels, repeated)


def in_seconds(column: pd.Series, unit: str) -> np.ndarray:
    """Seconds since the first time; NaN where a cell is no time."""
    if unit == "datetime":
        stamps = pd.to_datetime(column, format="ISO8601", utc=True, errors="coerce")
        return (stamps - stamps.iloc[0]).dt.total_seconds().to_numpy(np.float64)
    time = column.to_numpy(np.float64)
    return (time - time[0]) * SECONDS[unit]


def natural(name: str) -> tuple[bool, int, str]:
    """Sorts whole numbers by value, before names."""
    number = name.lstrip("-").isdecimal()
    return not number, int(name) if number else 0, name


def number_subjects(names: Sequence[str]) -> dict[str, int]:
    """{name: number}: their own where all subjects are small whole numbers, else 1, 2, ... in sorted order."""
    unique = sorted(set(names), key=natural)
    if all(name.isdecimal() and str(int(name)) == name and int(name) < 2**31 for name in unique):
        return {name: int(name) for name in unique}
    return {name: number for number, name in enumerate(unique, 1)}


def make_notes(table: ConfigDict, tally: Mapping[str, int], recordings: Sequence[Recording]) -> tuple[str, ...]:
    """What reading did to the rows, from counts of rows, repeated ones and missing values."""
    samples = sum(len(r.labels) for r in recordings)
    how = (
        f"resampled by {table.resample} to {table.rate:g} Hz" if table.time else f"taken to be {table.rate:g} Hz apart"
    )
    notes = [f"{len(recordings)} recordings: {tally['rows']:,} rows, {how}: {samples:,} samples"]
    if tally["repeated"]:
        notes.append(f"{tally['repeated']} rows with the time of the row before were left out")
    if gaps := sum(len(r.starts) - 1 for r in recordings):
        notes.append(f"{gaps} gaps divide recordings")
    if tally["missing"]:
        notes.append(f"{tally['missing']} missing values, data.table.missing={table.missing!r}")
    return tuple(notes)
