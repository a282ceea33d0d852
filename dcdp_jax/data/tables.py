"""The user's own recordings: CSV or Parquet tables, columns named in `data.table`. See docs/your_own_data.md."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from ml_collections import ConfigDict

from dcdp_jax.data.annotations import annotate, annotations_of
from dcdp_jax.data.beside import join_files
from dcdp_jax.data.names import check_alike, clean_name, clean_names, path_name
from dcdp_jax.data.recording import UNLABELLED, Channel, Recording, Recordings
from dcdp_jax.data.resample import complete, resample, settle
from dcdp_jax.data.table_checks import Sampled, check_copies, check_units, first_names, odd_channels, unique_runs
from dcdp_jax.data.table_files import MISSING_NUMBERS, TIME, check_codes, find_files, in_seconds
from dcdp_jax.data.units import KNOWN, unit_name
from dcdp_jax.errors import ConfigError, DataError
from dcdp_jax.values import check_values, fields_of

# Largest numbers of rows per sample and of samples per row; more indicates a wrong unit of time.
DENSE, SPARSE = 200, 20
GROUPS = ("subject", "recording", "label")  # named groups that data.table.path_pattern may have


class Rows(NamedTuple):
    """The rows of one recording, in the order of the file."""

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
    sampled, tally, missing = [], Counter[str](), np.zeros(len(channels), np.int64)
    unread: dict[str, None] = {}  # columns, in order
    doubts: dict[str, dict[str, None]] = {}  # {doubt: places}, in order
    paths = find_files(raw, table.files)
    labels = {annotations_of(path, table) for path in paths} if table.annotations else set()
    for path in (path for path in paths if path not in labels):
        for rows in read_rows(path, table, [channel.name for channel in channels], raw):
            sampled.append(sample_rows(path, rows, table))
            unread |= dict.fromkeys(rows.unread)
            for doubt, where in rows.doubts.items():
                doubts.setdefault(doubt, {})[where] = None
            tally["rows"] += len(rows.time)
            tally["repeated"] += sampled[-1].repeated
            missing += np.isnan(rows.values).sum(axis=0)
    names = sorted({label for part in sampled for label in set(part.labels)} - {""}, key=natural)
    check_alike(names, f"data.table.label={table.label!r}")
    subjects: dict[str, list[str]] = {}  # {subject: its recordings}
    for part in sampled:
        subjects.setdefault(part.subject, []).append(part.run)
    check_alike(subjects, f"data.table.subject={table.subject!r}")
    for of_subject in subjects.values():
        check_alike(of_subject, f"data.table.recording={table.recording!r}")
    if unnamed := [repr(name) for name in names if name.casefold() in {*map(str.casefold, MISSING_NUMBERS), "none"}]:
        doubts["classes named as a missing value (empty cells alone have no label)"] = dict.fromkeys(unnamed)
    copies = check_copies(sampled)
    codes = {name: code for code, name in enumerate(names)} | {"": UNLABELLED}
    numbers = number_subjects([part.subject for part in sampled])
    runs = unique_runs(sampled, raw)
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
        for run, part in zip(runs, sampled, strict=True)
    ]
    subject_names = {number: name for name, number in numbers.items() if name != str(number)}
    missing_values = {channel.name: count for channel, count in zip(channels, missing.tolist(), strict=True)}
    tally["missing"] = sum(missing_values.values())
    counts = {name: len(of_subject) for name, of_subject in subjects.items()}
    notes = [*make_notes(table, tally, recordings, counts, [1 / part.interval for part in sampled]), *copies]
    *lacking, lost = np.sum([part.lacking for part in sampled], axis=0).tolist()
    if lost:
        by = [f"{channel.name} ({count:,})" for channel, count in zip(channels, lacking, strict=True) if count]
        whole = lost + sum(len(part.labels) for part in sampled)
        notes.append(f"{lost:,} of {whole:,} samples lack a channel, and are left out: {first_names(by)}")
    notes += [*check_units(sampled, channels), *odd_channels(sampled, channels)]
    if unread:
        notes.append(f"columns that are not read: {first_names([repr(name) for name in unread])}")
    notes += [f"{doubt}: {first_names([*places])}" for doubt, places in doubts.items()]
    return Recordings(recordings, tuple(names), subject_names, tuple(notes), missing_values=missing_values)


def sample_rows(path: Path, rows: Rows, table: ConfigDict, partial: bool = False) -> Sampled:
    """Resamples one recording of a file; `partial` keeps samples that lack a channel.

    Raises:
      DataError: time stamps repeat, or their intervals show that the unit of time is wrong.
    """
    where = f"{path}: recording {rows.run!r}"
    interval = 1 / table.rate
    try:
        settled, repeated = settle(rows.time, rows.values, table.repeated, table.max_gap)
        if len(settled.time) > 1:
            interval = float(np.median(np.diff(settled.time)))
            check_interval(interval, table)
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
    return Sampled(path, rows.subject, rows.run, even, labels, interval, repeated, lacking)


def keeps_rows(table: ConfigDict) -> bool:
    """Returns whether every row is a sample: the table has no time, and its files do not state a rate."""
    return not table.time and not table.preamble


def check_interval(interval: float, table: ConfigDict) -> None:
    """Raises DataError if the median time between two rows, in seconds, shows that the unit of time is wrong."""
    unit = f"is data.table.time_unit={table.time_unit!r} right?"
    if interval > table.max_gap:
        raise DataError(f"rows are {interval:g} s apart, farther than data.table.max_gap={table.max_gap:g} s; {unit}")
    if not 1 / DENSE <= interval * table.rate <= SPARSE:
        rate = f"{float(f'{1 / interval:.3g}'):,g}"
        raise DataError(f"rows come {rate} times a second, and data.table.rate is {table.rate:g}; {unit}")


def check_fields(table: ConfigDict, any_channels: bool = True) -> tuple[Channel, ...]:
    """Checks all of `data.table` that can be checked without the files, and returns the channels.

    With `any_channels` False, as for a trained model, which knows its channels, there may be none.

    Raises:
      ConfigError: names the field, what came and what was expected.
    """
    check_values({f"data.table.{name}": value for name, value in table.items()}, fields_of("data.table"))
    if len(table.delimiter) != 1 or table.delimiter in '\r\n"':
        raise ConfigError(f"data.table.delimiter={table.delimiter!r} must be one character between fields")
    if table.time_format and table.time_unit != "datetime":
        raise ConfigError(
            f"data.table.time_format={table.time_format!r} is of dates, and data.table.time_unit={table.time_unit!r} "
            "reads numbers; set --config.data.table.time_unit=datetime, or leave the format empty"
        )
    if table.delimiter == table.decimal:
        raise ConfigError(f"data.table.delimiter and data.table.decimal are both {table.decimal!r}")
    if (any_channels and not table.channels) or not are_tuples_of_text(table.channels, 4):
        raise ConfigError(
            f"data.table.channels={table.channels!r} must be (column, group, site, unit) for each channel, as "
            f"(('acc_x', 'acc', 'wrist', 'g'), ...)"
        )
    if not are_tuples_of_text(table.beside, 3):
        raise ConfigError(
            f"data.table.beside={table.beside!r} must be (part of the path, what stands there instead, what stands "
            f"before the names of its columns) for each further file, as (('Accelerometer', 'Gyroscope', ''),)"
        )
    for column, _, _, unit in table.channels:
        named = re.search(r"[\[(]([^\])]+)[\])]\s*$", column)
        if named and unit_name(named[1]) != unit_name(unit) and {unit_name(named[1]), unit_name(unit)} <= KNOWN:
            raise ConfigError(
                f"data.table.channels: the column {column!r} is said to be in {unit}; expected {named[1]}"
            )
    columns = [entry[0] for entry in table.channels]
    columns += [table[field] for field in ("time", "label", "subject", "recording") if table[field]]
    for column in columns:
        if columns.count(column) > 1:
            raise ConfigError(f"data.table: the column {column!r} is named twice")
    for field, allowed in (("path_pattern", GROUPS), ("preamble", ("rate", "start"))):
        try:
            groups = re.compile(table[field]).groupindex
        except re.error as error:
            raise ConfigError(f"data.table.{field}={table[field]!r} is not a regular expression ({error})") from error
        if table[field] and not (groups and set(groups) <= set(allowed)):
            raise ConfigError(
                f"data.table.{field}={table[field]!r} must have named groups of {', '.join(allowed)}, as "
                f"(?P<{allowed[0]}>...)"
            )
    if table.annotations and (table.label or "(?P<label>" in table.path_pattern):
        raise ConfigError(
            f"data.table.annotations={table.annotations!r} names the labels, and so does data.table."
            + (f"label={table.label!r}" if table.label else f"path_pattern={table.path_pattern!r}")
            + "; leave one of them empty"
        )
    if table.annotations and not (table.time or table.preamble):
        raise ConfigError("data.table.annotations are found by their time; set data.table.time or data.table.preamble")
    if table.preamble and (table.time or "rate" not in groups or not table.skip_lines):
        raise ConfigError(
            "data.table.preamble finds the rate in the lines that data.table.skip_lines skips: it needs a group "
            "(?P<rate>...), skip_lines of 1 or more, and data.table.time=''"
        )
    return tuple(Channel(*entry) for entry in table.channels)


def are_tuples_of_text(entries: Any, length: int) -> bool:
    """Returns whether every entry is a tuple or list of `length` strings."""
    return all(
        isinstance(entry, tuple | list) and len(entry) == length and all(isinstance(part, str) for part in entry)
        for entry in entries
    )


def read_rows(path: Path, table: ConfigDict, channels: Sequence[str], folder: Path | None = None) -> Iterator[Rows]:
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
        yield Rows(subject, run, time, values, columns["label"][at], unread, frame.attrs["doubts"])


def match_path(path: Path, table: ConfigDict, folder: Path | None) -> dict[str, str]:
    """Returns {'subject', 'recording' or 'label': name} that `data.table.path_pattern` finds in a path.

    Raises:
      DataError: the pattern, or one of its groups, finds nothing in the path of a file below the folder.
    """
    if not table.path_pattern:
        return {}
    below = path.relative_to(folder).as_posix() if folder and path.is_relative_to(folder) else path.as_posix()
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
    """Returns the seconds of the rows of one recording since its first.

    Raises:
      DataError: time goes back.
    """
    if TIME not in frame:
        return np.arange(len(members)) / table.rate
    stamps = frame[TIME].to_numpy()[members]
    time = in_seconds(stamps, stamps[0], table.time_unit)
    passed = np.diff(time)
    if (passed < 0).any():
        at = int(np.argmax(passed < 0))
        raise DataError(
            f"{path}, {kind} {frame.index[members[at + 1]]}, column {table.time!r}: time goes back by "
            f"{-passed[at]:g} s within recording {run!r} of subject {subject!r}; sort the rows, name a column in "
            f"data.table.recording, or bring a table with a row for each sensor into wide form"
        )
    return time


def natural(name: str) -> tuple[bool, int, str]:
    """Returns a sort key that puts whole numbers first, by value."""
    number = name.lstrip("-").isdecimal()
    return not number, int(name) if number else 0, name


def number_subjects(names: Sequence[str]) -> dict[str, int]:
    """Returns {name: number}: the names if all are whole numbers below 2**31, else 1, 2, ... in sorted order."""
    unique = sorted(set(names), key=natural)
    if all(name.isdecimal() and str(int(name)) == name and int(name) < 2**31 for name in unique):
        return {name: int(name) for name in unique}
    return {name: number for number, name in enumerate(unique, 1)}


def make_notes(
    table: ConfigDict,
    tally: Mapping[str, int],
    recordings: Sequence[Recording],
    subjects: Mapping[str, int],
    rates: Sequence[float],
) -> list[str]:
    """Returns notes on the recordings and subjects found, and on repeated rows, gaps and missing values.

    Args:
      table: The `data.table` part of a config.
      tally: Numbers of `rows`, of `repeated` ones and of `missing` values.
      recordings: All recordings.
      subjects: {subject: number of its recordings}.
      rates: Rows per second of each recording.
    """
    shown = first_names([f"{name} ({subjects[name]})" for name in sorted(subjects, key=natural)])
    column = table.subject and "(?P<subject>" not in table.path_pattern
    source = f"the column {table.subject!r}" if column else "the path of each file"
    identities = f"{len(subjects)} subjects by {source}, with how many recordings: {shown}"
    samples = sum(len(r.labels) for r in recordings)
    how = f", taken to be {table.rate:g} Hz apart"
    if not keeps_rows(table):
        came = " to ".join(dict.fromkeys(f"{float(f'{rate:.3g}'):,g}" for rate in (min(rates), max(rates))))
        how = f" at {came} Hz, resampled by {table.resample} to {table.rate:g} Hz"
    notes = [f"{len(recordings)} recordings: {tally['rows']:,} rows{how}: {samples:,} samples", identities]
    if tally["repeated"]:
        done = {"spread": "were spread until the next stamp", "mean": "were averaged with it"}
        notes.append(
            f"{tally['repeated']:,} of {tally['rows']:,} rows have the time of the row before: they "
            f"{done.get(table.repeated, 'were left out')}"
        )
    if gaps := sum(len(r.starts) - 1 for r in recordings):
        notes.append(f"{gaps} gaps divide recordings")
    if tally["missing"]:
        notes.append(f"{tally['missing']} missing values, data.table.missing={table.missing!r}")
    return notes
