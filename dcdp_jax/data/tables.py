"""The user's own recordings: CSV or Parquet tables, columns named in `data.table`. See docs/your_own_data.md."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from ml_collections import ConfigDict

from dcdp_jax.data.beside import annotate, annotations_of, join_files
from dcdp_jax.data.names import check_alike, clean_name, clean_names, path_name
from dcdp_jax.data.recording import UNLABELLED, Channel, Recording, Recordings
from dcdp_jax.data.resample import complete, resample, settle
from dcdp_jax.data.table_cells import MISSING_NUMBERS, SECONDS, TIME, check_codes, in_seconds
from dcdp_jax.data.table_checks import (
    FEWEST,
    Sampled,
    check_copies,
    check_units,
    first_names,
    held_values,
    lost_rows,
    odd_channels,
    renewed_every,
    unique_runs,
)
from dcdp_jax.data.table_fields import GROUPS, check_fields, keeps_rows
from dcdp_jax.data.table_files import find_files
from dcdp_jax.data.units import sensors_of
from dcdp_jax.errors import ConfigError, DataError

# Largest numbers of rows per sample and of samples per row; more indicates a wrong unit of time.
DENSE, SPARSE = 200, 20
MANY, FEW = 20, 4  # from which on a doubt is noted
# Rows come in bursts if a quarter of the intervals between them are so many times shorter than their mean.
BURST = 4
# A row is lost if the next one is so many times as far away as usual.
LOST = 2.5
# Relative difference of the mean interval to the median from which stamps are rounded, as those of 64 Hz in ms.
ROUNDED, ALIKE = 0.01, 0.5  # and of the intervals in this mean, without those in which a row is lost
SAME_RATE = 0.02  # relative difference up to which two rates are the same
COUNTED = 0.9  # share of the intervals that are 1 from which the times may be numbers of rows
FRACTION = r"\d\d?:\d\d:\d\d[.:,](\d+)"  # of a second, in a date
# Usual labels of rows without a class, besides `MISSING_NUMBERS`.
NO_CLASS = ("none", "<undefined>", "<na>", "undefined", "unknown", "unlabeled", "unlabelled", "-1")


class FileRows(NamedTuple):
    """The rows of one recording of a file, in its order."""

    subject: str  # its name
    run: str  # its name
    time: np.ndarray  # (n,) seconds since the first row, not falling
    values: np.ndarray  # (n, c) float32, NaN where missing
    labels: np.ndarray  # (n,) names, '' where there is none
    unread: tuple[str, ...]  # columns of the file that no field names
    doubts: Mapping[str, str]  # {what may be wrong with the file: where}


def read_tables(table: ConfigDict, raw_dir: str) -> Recordings:
    """Reads all tables that the `data.table` part of a config describes.

    Returns:
      One recording per file, or per subject and recording of a file. Their runs are unique, their classes sorted.

    Raises:
      ConfigError: a field cannot be used.
      DataError: a file is missing or damaged; the message names file, line and column.
    """
    channels = check_fields(table)
    folder = raw_dir or os.environ.get("DCDP_RAW_DIR", "")
    if not folder:
        raise ConfigError("data.raw_dir is empty (and so is DCDP_RAW_DIR): name the folder with your tables")
    raw = Path(folder).expanduser()
    paths = find_files(raw, table.files)
    annotations = {annotations_of(path, table) for path in paths} if table.annotations else set()
    sampled = [
        sample_rows(path, rows, table)
        for path in paths
        if path not in annotations
        for rows in read_rows(path, table, [channel.name for channel in channels], raw)
    ]
    class_names = sorted({label for part in sampled for label in set(part.labels)} - {""}, key=natural)
    runs_of: dict[str, list[str]] = {}  # {subject: its recordings}
    for part in sampled:
        runs_of.setdefault(part.subject, []).append(part.run)
    check_alike(class_names, f"data.table.label={table.label!r}")
    check_alike(runs_of, f"data.table.subject={table.subject!r}")
    for runs in runs_of.values():
        check_alike(runs, f"data.table.recording={table.recording!r}")
    codes = {name: code for code, name in enumerate(class_names)} | {"": UNLABELLED}
    numbers = number_subjects(list(runs_of))
    recordings = [
        Recording(
            signals=part.even.values,
            labels=np.array([codes[label] for label in part.labels], np.int32),
            subject=numbers[part.subject],
            run=run,
            rate=table.rate,
            channels=channels,
            starts=part.even.starts,
        )
        for run, part in zip(unique_runs(sampled, raw), sampled, strict=True)
    ]
    missing = np.sum([part.missing for part in sampled], axis=0).tolist()
    notes = [
        *count_notes(table, sampled, sum(missing)),
        *person_notes(table, sampled),
        *check_copies(sampled),
        *lacking_notes(sampled, channels),
        *lost_rows(sampled, table.max_gap),
        *check_units(sampled, channels, table.rate),
        *odd_channels(sampled, channels),
        *held_values(sampled, channels, table.rate),
        *file_notes(sampled, class_names),
    ]
    return Recordings(
        recordings,
        tuple(class_names),
        subject_names={number: name for name, number in numbers.items() if name != str(number)},
        notes=tuple(notes),
        missing_values={channel.name: count for channel, count in zip(channels, missing, strict=True)},
    )


def sample_rows(path: Path, rows: FileRows, table: ConfigDict, partial: bool = False) -> Sampled:
    """Resamples one recording of a file; `partial` keeps samples that lack a channel.

    Raises:
      DataError: time stamps repeat, or their intervals show that the unit of time is wrong.
    """
    where = f"{path}: recording {rows.run!r}"
    interval, lost, found = 1 / table.rate, 0.0, dict(rows.doubts)
    try:
        settled, repeated = settle(rows.time, rows.values, table.repeated, table.max_gap)
        there = np.isfinite(settled.values)
        fullest = there[:, there.sum(axis=0).argmax()]  # because the rows of other sensors may come in between
        if len(passed := np.diff(settled.time[fullest])):
            interval, lost, doubts = check_intervals(passed, table)
            found |= dict.fromkeys(doubts, str(path))
        even = resample(
            settled.time,
            settled.values,
            rate=table.rate,
            max_gap=table.max_gap,
            method=table.resample,
            missing=table.missing,
            keep_rows=keeps_rows(table),
            partial=True,
        )
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    missing = np.isnan(even.values)
    lacking = np.append(missing.sum(axis=0), missing.any(axis=1).sum())
    if not partial:
        even = complete(even)
    if len(even.rows) == 0:
        never = [entry[0] for entry, absent in zip(table.channels, missing.all(axis=0), strict=True) if absent]
        which = f" ({', '.join(never)}: at none)" if never else ""
        raise DataError(f"{where} has no sample at which all channels have values{which}")
    labels = rows.labels[settled.rows[even.rows]]
    unfilled = np.isnan(rows.values).sum(axis=0)
    renewed = {
        sensor: renewed_every(settled.time, settled.values[:, places])
        for sensor, places in sensors_of([Channel(*entry) for entry in table.channels]).items()
    }
    facts = (rows.unread, found, len(rows.time), unfilled, interval, lost, renewed, repeated, lacking)
    return Sampled(path, rows.subject, rows.run, even, labels, *facts)


def check_intervals(passed: np.ndarray, table: ConfigDict) -> tuple[float, float, list[str]]:
    """Judges the times (n,) between rows, in seconds.

    Returns:
      The usual time, which is the median, or the mean if rows come in bursts or stamps are rounded; the share of the
      time in which rows are lost, 0 if there are doubts; and doubts: rows come in bursts or far more or less often than
      `data.table.rate`, or times may be numbers of rows.

    Raises:
      DataError: the usual time shows that the unit of time is wrong.
    """
    interval, doubts = float(np.median(passed)), []
    near = passed[passed <= table.max_gap]
    if len(near) >= FEWEST and np.quantile(near, 0.25) * BURST < near.mean():
        interval = float(near.mean())
        doubts.append(
            "rows come in bursts, as where their time is that of arrival; name the sensor's own clock if there is one"
        )
    elif len(alike := near[np.abs(near / interval - 1) < ALIKE]) >= FEWEST:
        mean = float(alike.mean())
        interval = mean if abs(mean / interval - 1) > ROUNDED else interval
    unit = f"is data.table.time_unit={table.time_unit!r} right?"
    if interval > table.max_gap:
        raise DataError(f"rows are {interval:g} s apart, farther than data.table.max_gap={table.max_gap:g} s; {unit}")
    rate = f"{float(f'{1 / interval:.3g}'):,g}"
    if not 1 / DENSE <= interval * table.rate <= SPARSE:
        raise DataError(f"rows come {rate} times a second, and data.table.rate is {table.rate:g}; {unit}")
    if not 1 / MANY <= interval * table.rate <= FEW:
        doubts.append(f"rows come {rate} times a second, and data.table.rate is {table.rate:g}; {unit}")
    one = SECONDS.get(table.time_unit, 0)
    if table.time and np.isclose(passed, one).mean() > COUNTED and abs(one * table.rate - 1) > SAME_RATE:
        doubts.append(
            f"times rise by 1 {table.time_unit} from row to row, as numbers of rows do; if they are, set "
            "data.table.time=''"
        )
    far = near > LOST * max(interval, 1 / table.rate)
    return interval, 0.0 if doubts else float(near[far].sum() / near.sum()), doubts


def read_rows(path: Path, table: ConfigDict, channels: Sequence[str], folder: Path | None = None) -> Iterator[FileRows]:
    """Yields the recordings of one file, in order of their first rows; `channels` are its columns of signals.

    Without a column for them, subject and recording are named by the path below the folder, see `match_path`.

    Raises:
      DataError: the file cannot be read; the message names line and column.
    """
    found = match_path(path, table, folder)
    name = path_name(path, folder)
    fields = [field for field in GROUPS if table[field] and field not in found]
    frame = join_files(path, table, channels, [table[field] for field in fields], folder)
    kind = "row" if path.suffix.lower() == ".parquet" else "line"
    whole = {"subject": name, "recording": name, "label": ""} | found
    names = {field: clean_names(frame[table[field]]) if field in fields else None for field in GROUPS}
    for field in ("subject", "recording"):
        column = names[field]
        if column is not None and (column == "").any():
            at = frame.index[column == ""][0]
            raise DataError(f"{path}, {kind} {at}, column {table[field]!r}: no {field}")
    check_codes(frame, channels, f"{path}, {kind}")
    for channel in channels if table.missing == "error" else ():
        if frame[channel].isna().any():
            at = frame.index[frame[channel].isna()][0]
            raise DataError(
                f"{path}, {kind} {at}, column {channel!r}: no value; data.table.missing is 'error', choose "
                f"'interpolate' or 'split' to allow this"
            )
    columns = {
        field: column.to_numpy(object) if column is not None else np.full(len(frame), whole[field], object)
        for field, column in names.items()
    }
    if table.annotations:
        columns["label"] = annotate(path, table, frame)
    named = {*channels, *(table[field] for field in GROUPS), table.time}
    unread = tuple(name for name in frame.attrs["columns"] if name not in named)
    members: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(zip(columns["subject"], columns["recording"], strict=True)):
        members.setdefault(key, []).append(row)
    for (subject, run), some in members.items():
        at = np.array(some)
        time = row_times(path, subject, run, frame, at, table, kind)
        values = np.stack([frame[channel].to_numpy()[at] for channel in channels], axis=1).astype(np.float32)
        yield FileRows(subject, run, time, values, columns["label"][at], unread, frame.attrs["doubts"])


def match_path(path: Path, table: ConfigDict, folder: Path | None) -> dict[str, str]:
    """Returns {'subject', 'recording' or 'label': name} that `data.table.path_pattern` finds in a path.

    Raises:
      DataError: the pattern, or one of its groups, finds nothing in the path of a file below the folder.
    """
    if not table.path_pattern:
        return {}
    below = path.relative_to(folder).as_posix() if folder and path.is_relative_to(folder) else path.as_posix()
    below = unicodedata.normalize("NFC", below)  # in archives of macOS, ü is u and a second character
    found = re.search(table.path_pattern, below)
    if found is None:
        if folder is None:  # a recording to predict may be outside of the training folder
            return {}
        raise DataError(f"{path}: data.table.path_pattern={table.path_pattern!r} does not match {below!r}")
    if folder and (nothing := [field for field, name in found.groupdict().items() if not name]):
        raise DataError(f"{path}: data.table.path_pattern={table.path_pattern!r} finds no {nothing[0]} in {below!r}")
    return {field: clean_name(name) for field, name in found.groupdict().items() if name}


def row_times(
    path: Path, subject: str, run: str, frame: pd.DataFrame, members: np.ndarray, table: ConfigDict, kind: str
) -> np.ndarray:
    """Returns the seconds of the rows of one recording since its first, without stamps those of `count_rows`.

    Raises:
      DataError: time goes back.
    """
    if TIME not in frame:
        lines = frame.index.to_numpy()[members]
        return count_rows(lines, int(lines[0]) - 1, table) / table.rate
    stamps = frame[TIME].to_numpy()[members]
    time = in_seconds(stamps, stamps[0], table.time_unit)
    passed = np.diff(time)
    if (passed < 0).any():
        at = int(np.argmax(passed < 0))
        advice = (
            "sort the rows, name a column in data.table.recording, or bring a table with a row for each sensor into "
            "wide form"
        )
        cells = frame[table.time].iloc[members[[at, at + 1]]].astype(str).tolist() if table.time in frame else []
        fractions = [match[1] for cell in cells if (match := re.search(FRACTION, cell))]
        if len({*map(len, fractions)}) > 1:
            advice = f"{cells[1]!r} comes after {cells[0]!r}: write 5 ms as .005, not as .5"
        raise DataError(
            f"{path}, {kind} {frame.index[members[at + 1]]}, column {table.time!r}: time goes back by "
            f"{-passed[at]:g} s within recording {run!r} of subject {subject!r}; {advice}"
        )
    return time


def count_rows(lines: np.ndarray, before: int, table: ConfigDict) -> np.ndarray:
    """Returns the numbers of rows of one recording without time stamps, from 0 on.

    Rows of other recordings in between are counted if they take longer than `data.table.max_gap`, so that they are a
    gap, as in a table that is sorted by activity. Fewer are not, as in a table of two devices in turn.

    Args:
      lines: (n,) lines of the rows, rising.
      before: Line of the row before the first of them.
      table: The `data.table` part of a config.
    """
    between = np.diff(lines, prepend=before) - 1
    return np.arange(len(lines)) + np.cumsum(np.where(between > table.max_gap * table.rate, between, 0))


def natural(name: str) -> tuple[bool, int, str]:
    """Returns a sort key that puts whole numbers first, by value."""
    number = re.fullmatch(r"-?\d+", name) is not None
    return not number, int(name) if number else 0, name


def number_subjects(names: Sequence[str]) -> dict[str, int]:
    """Returns {name: number}: the names if all are whole numbers below 2**31, else 1, 2, ... in sorted order."""
    unique = sorted(set(names), key=natural)
    if all(name.isdecimal() and str(int(name)) == name and int(name) < 2**31 for name in unique):
        return {name: int(name) for name in unique}
    return {name: number for number, name in enumerate(unique, 1)}


def count_notes(table: ConfigDict, sampled: Sequence[Sampled], missing: int) -> list[str]:
    """Returns notes on the numbers of recordings, subjects, repeated rows, gaps and missing values.

    Args:
      table: The `data.table` part of a config.
      sampled: All recordings.
      missing: Number of missing values.
    """
    rows, samples = sum(part.rows for part in sampled), sum(len(part.labels) for part in sampled)
    how = f", taken to be {table.rate:g} Hz apart"
    if not keeps_rows(table):
        rates = [1 / part.interval for part in sampled]
        came = " to ".join(dict.fromkeys(f"{float(f'{rate:.3g}'):,g}" for rate in (min(rates), max(rates))))
        how = f" at {came} Hz, resampled by {table.resample} to {table.rate:g} Hz"
    subjects = Counter(part.subject for part in sampled)
    shown = first_names([f"{name} ({subjects[name]})" for name in sorted(subjects, key=natural)])
    column = table.subject and "(?P<subject>" not in table.path_pattern
    source = f"the column {table.subject!r}" if column else "the path of each file"
    notes = [
        f"{len(sampled)} recordings: {rows:,} rows{how}: {samples:,} samples",
        f"{len(subjects)} subjects by {source}, with how many recordings: {shown}",
    ]
    if repeated := sum(part.repeated for part in sampled):
        done = {"spread": "were spread until the next stamp", "mean": "were averaged with it"}
        notes.append(
            f"{repeated:,} of {rows:,} rows have the time of the row before: they "
            f"{done.get(table.repeated, 'were left out')}"
        )
    if gaps := sum(len(part.even.starts) - 1 for part in sampled):
        notes.append(f"{gaps} gaps divide recordings")
    if missing:
        notes.append(f"{missing} missing values, data.table.missing={table.missing!r}")
    return notes


def person_notes(table: ConfigDict, sampled: Sequence[Sampled]) -> list[str]:
    """Returns a note if files are taken to be of people of their own, and each has one class only."""
    classes: dict[str, set[str]] = {}
    for part in sampled:
        classes.setdefault(part.subject, set()).update({*part.labels} - {""})
    named = table.subject or "(?P<subject>" in table.path_pattern
    if named or max(map(len, classes.values())) > 1 or len(set().union(*classes.values())) < 2:
        return []
    return [
        "no subject has more than one class, as where several files are of one person; name the person by "
        "data.table.subject or data.table.path_pattern"
    ]


def lacking_notes(sampled: Sequence[Sampled], channels: Sequence[Channel]) -> list[str]:
    """Returns a note on the samples that lack a channel, if there are any."""
    *lacking, lost = np.sum([part.lacking for part in sampled], axis=0).tolist()
    if not lost:
        return []
    by = [f"{channel.name} ({count:,})" for channel, count in zip(channels, lacking, strict=True) if count]
    whole = lost + sum(len(part.labels) for part in sampled)
    return [f"{lost:,} of {whole:,} samples lack a channel, and are left out: {first_names(by)}"]


def file_notes(sampled: Sequence[Sampled], class_names: Sequence[str]) -> list[str]:
    """Returns notes on columns that are not read, and on what may be wrong with the files and the names of classes."""
    notes = []
    if unread := list(dict.fromkeys(repr(name) for part in sampled for name in part.unread)):
        notes.append(f"columns that are not read: {first_names(unread)}")
    places: dict[str, dict[str, None]] = {}  # {doubt: where, in order}
    for part in sampled:
        for doubt, where in part.doubts.items():
            places.setdefault(doubt, {})[where] = None
    notes += [f"{doubt}: {first_names([*where])}" for doubt, where in places.items()]
    missing = {*map(str.casefold, MISSING_NUMBERS), *NO_CLASS}
    if alike := [repr(name) for name in class_names if name.casefold() in missing]:
        notes.append(f"classes named as a missing value (empty cells alone have no label): {first_names(alike)}")
    return notes
