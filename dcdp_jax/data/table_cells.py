"""Converts the cells of the user's tables to numbers and times. Errors name the file, the line and the column."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from ml_collections import ConfigDict

from dcdp_jax.errors import DataError

MISSING_NUMBERS = ("", "NaN", "nan", "NA", "N/A", "null")
CODES = (999, 9999, 99999, 999999)  # numbers that, with either sign, mark a missing value in many tables
FAR_CODE = 10  # ratio to all other numbers of a column from which such a number is an error
LARGEST = 1e18  # larger ones have squares that are infinite in single precision
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
TIME_UNITS = (*SECONDS, "datetime")
TIME = "\0time"  # column of a frame for the time; no file can have one of this name
# A time zone's name behind a stamp, as ' [Europe/London]' or ' Europe/London'.
ZONE = r"\s*\[?\b([A-Za-z_]+(?:/[A-Za-z_+\-0-9]+)+|UTC|GMT)\]?$"
OFFSET = r"(?:Z|[+-]\d\d:?\d\d|:\d\d(?:\.\d+)?[+-]\d\d)$"
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"  # in a text, with its decimal point


def to_numbers(column: pd.Series, decimal: str) -> np.ndarray:
    """Converts a column to float64, NaN for a cell that is missing or not a number; `decimal` is the point in texts."""
    if column.dtype == object or pd.api.types.is_string_dtype(column):
        text = column.astype("string").str.strip()
        numbers = text.where(text.str.fullmatch(NUMBER.replace(r"\.", re.escape(decimal))).fillna(False))
        column = numbers.str.replace(decimal, ".", regex=False)
    elif not pd.api.types.is_numeric_dtype(column):  # as dates are
        return np.full(len(column), np.nan)
    return pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)


def check_numbers(
    frame: pd.DataFrame, names: Sequence[str], where: str, decimal: str, largest: float = LARGEST
) -> None:
    """Converts columns to float64; raises DataError for a cell that is not a finite number, or is too large."""
    block = frame[list(names)].to_numpy()
    if block.dtype == np.float64 and not (np.abs(block) > min(largest, np.finfo(np.float32).max)).any():
        return
    for name in names:
        values = to_numbers(frame[name], decimal)
        size = np.abs(values)
        wrong = (np.isnan(values) & frame[name].notna().to_numpy()) | (size > np.finfo(np.float32).max)
        if (wrong | (size > largest)).any():
            row = int(np.argmax(wrong if wrong.any() else size > largest))
            raise DataError(
                f"{where} {frame.index[row]}, column {name!r}: {str(frame[name].iloc[row])[:40]!r} is "
                + ("not a finite number of single precision" if wrong.any() else f"larger than {largest:g}")
            )
        if frame[name].dtype != np.float64:
            frame[name] = values


def check_codes(frame: pd.DataFrame, names: Sequence[str], where: str) -> None:
    """Raises DataError for a number that is a usual code of a missing value and far from all others of its column."""
    for name in names:
        size = np.abs(frame[name].to_numpy())
        code = np.isin(size, CODES)
        usual = float(np.max(size, where=~code & ~np.isnan(size), initial=0))
        if (far := code & (size > FAR_CODE * usual)).any():
            at = int(np.argmax(far))
            found = f"{frame[name].iloc[at]:g}"
            raise DataError(
                f"{where} {frame.index[at]}, column {name!r}: {found}, where all other numbers are within {usual:g}; "
                f"if it stands for a missing value, set data.table.missing_values=({found},)"
            )


def finish_frame(frame: pd.DataFrame, numbers: Sequence[str], time: str, table: ConfigDict, where: str) -> pd.DataFrame:
    """Checks the numbers of a frame, drops rows without any value, and reads the time; see `read_file`."""
    check_numbers(frame, numbers, where, table.decimal)
    for name in numbers if table.missing_values else ():
        codes = np.array(table.missing_values, np.float32)
        frame[name] = frame[name].mask(np.isin(frame[name].to_numpy(np.float32), codes))
    if not time:
        return frame
    blank = frame.isna().to_numpy().all(axis=1)
    if blank.any():
        frame = frame.iloc[np.flatnonzero(~blank)].copy()
    column = frame[time]
    if table.time_unit != "datetime" and column.dtype.kind not in "mM":
        check_numbers(frame, [time], where, table.decimal, np.inf)
    stamps = read_stamps(frame[time], table)
    if (missing := is_missing(stamps)).any():
        at = int(np.argmax(missing))
        cell = "" if pd.isna(column.iloc[at]) else str(column.iloc[at]).strip()
        zone = ", or one that the clocks of its zone show twice or never" if re.search(ZONE, cell) else ""
        what = f"{cell[:40]!r} is not a time ({table.time_unit}){zone}" if cell else "no time"
        raise DataError(f"{where} {frame.index[at]}, column {time!r}: {what}")
    frame[TIME] = stamps
    return frame


def read_stamps(column: pd.Series, table: ConfigDict) -> np.ndarray:
    """Returns int64 nanoseconds of dates (since 1970) and of durations, or numbers unchanged; see `is_missing`."""
    if column.dtype.kind == "m":
        return column.dt.as_unit("ns").to_numpy("timedelta64[ns]").astype(np.int64)
    if column.dtype.kind == "M":
        stamps = pd.to_datetime(column, utc=True)
    elif table.time_unit != "datetime":
        return to_numbers(column, table.decimal)
    else:
        stamps = read_dates(column.astype("string").str.strip(), table.time_format)
    stamps = stamps.where((stamps.dt.year > 1678) & (stamps.dt.year < 2262)).dt.as_unit("ns")
    return stamps.to_numpy("datetime64[ns]").astype(np.int64)


def read_stamp(text: str, table: ConfigDict) -> int | None:
    """Returns the nanoseconds of a single stamp, see `read_stamps`; None if it is not a time."""
    stamps = read_stamps(pd.Series([text], dtype=object), table)
    if is_missing(stamps).any():
        return None
    return int(stamps[0]) if stamps.dtype == np.int64 else round(float(stamps[0]) * SECONDS[table.time_unit] * 1e9)


def read_dates(text: pd.Series, time_format: str) -> pd.Series:
    """Converts dates to UTC, those without an offset from the time zone that they name; NaT for other cells.

    A date without an offset or zone, among others with one, is NaT, because its zone is not known.
    """
    zones = text.str.extract(ZONE, expand=False)
    form = time_format or "ISO8601"
    if zones.isna().all():
        stamps = pd.to_datetime(text, format=form, utc=True, errors="coerce")
        offsets = text.str.contains(OFFSET, na=False)
        return stamps.where(offsets) if offsets.any() and not time_format else stamps
    bare = text.str.replace(ZONE, "", regex=True)
    stamps = pd.to_datetime(bare, format=form, utc=True, errors="coerce")
    local = ~bare.str.contains(OFFSET, na=False).to_numpy(bool)
    if "%z" not in form:
        stamps = stamps.mask(local & zones.isna().to_numpy(bool))
    for zone in zones[local].dropna().unique():
        inside = local & (zones == zone).fillna(False).to_numpy(bool)
        try:
            there = stamps[inside].dt.tz_localize(None).dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
            stamps = stamps.mask(inside, there.dt.tz_convert("UTC"))
        except (KeyError, ValueError):  # no such zone
            stamps = stamps.mask(inside)
    return stamps


def has_time_zone(column: pd.Series) -> bool | None:
    """Returns whether the first date of a column has a time zone or an offset from UTC; None for numbers."""
    if column.dtype.kind == "M":
        return getattr(column.dtype, "tz", None) is not None
    first = column.iloc[0]
    return re.search(f"{ZONE}|{OFFSET}", first.strip()) is not None if isinstance(first, str) else None


def check_zones(path: Path, frame: pd.DataFrame, other: Path, beside: pd.DataFrame) -> None:
    """Raises DataError if only one of two frames of `read_file` has dates with a time zone or offset."""
    if {frame.attrs["zoned"], beside.attrs["zoned"]} == {True, False}:
        raise DataError(f"{path}: its times have a time zone or offset and those of {other} have none, or the reverse")


def is_missing(stamps: np.ndarray) -> np.ndarray:
    """Returns which of the stamps from `read_stamps` are missing."""
    return np.isnan(stamps) if stamps.dtype.kind == "f" else stamps == np.iinfo(np.int64).min


def in_seconds(stamps: np.ndarray, first: np.generic, unit: str) -> np.ndarray:
    """Returns the seconds from one stamp to others, both from `read_stamps`, without rounding the stamps themselves."""
    return (stamps - first) * (1e-9 if stamps.dtype == np.int64 else SECONDS[unit])
