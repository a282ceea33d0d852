"""Reads one CSV or Parquet file of the user's, and names file, line and column of whatever is wrong with it."""

import csv
import difflib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dcdp_jax.errors import DataError

MISSING_NUMBERS = ("", "NaN", "nan", "NA", "N/A", "null")
LARGEST = float(np.finfo(np.float32).max)
SUFFIXES = (".csv", ".txt", ".tsv", ".parquet")


def find_files(raw_dir: Path, patterns: Sequence[str]) -> list[Path]:
    """Files below a folder that match `data.table.files`, by name.

    Raises:
      DataError: there is no such folder, or a pattern that matches nothing.
    """
    if not raw_dir.is_dir():
        raise DataError(f"{raw_dir}: no such folder; data.raw_dir (or DCDP_RAW_DIR) is the one with the tables")
    found: set[Path] = set()
    for pattern in patterns:
        matches = [path for path in raw_dir.glob(pattern) if path.is_file()]
        if not matches:
            raise DataError(f"{raw_dir}: no file matches data.table.files={pattern!r}")
        if wrong := [path for path in matches if path.suffix.lower() not in SUFFIXES]:
            raise DataError(f"{wrong[0]}: not one of {', '.join(SUFFIXES)}")
        found.update(matches)
    return sorted(found)


def read_file(path: Path, numbers: Sequence[str], texts: Sequence[str], delimiter: str) -> pd.DataFrame:
    """Reads the columns of a table that are needed.

    Args:
      path: a CSV file with a header line, or a Parquet file.
      numbers: columns of finite numbers, some of which may be missing.
      texts: columns that are kept as text; missing ones become ''.
      delimiter: between the fields of a CSV file.

    Returns:
      A frame with a float64 or text column each. Its index is the line in the file, for Parquet the row, from 1 on.
      Lines in which everything needed is missing are left out.

    Raises:
      DataError: the file is empty, not text, has lines with too few or too many fields, lacks a column, or has
        something in a column of numbers that is none; the message names line and column.
    """
    if path.suffix.lower() == ".parquet":
        frame, unit = read_parquet(path, [*numbers, *texts]), "row"
    else:
        frame, unit = read_text(path, numbers, texts, delimiter), "line"
    for name in numbers:
        values = pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64, na_value=np.nan)
        absent = np.isnan(values)
        wrong = np.abs(values) > LARGEST
        if absent.any():
            wrong |= absent & frame[name].notna().to_numpy()
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DataError(
                f"{path}, {unit} {frame.index[row]}, column {name!r}: {str(frame[name].iloc[row])[:40]!r} is not a "
                f"finite number of single precision"
            )
        if frame[name].dtype != np.float64:
            frame[name] = values
    blank = frame.isna().all(axis=1)
    if blank.any():
        frame = frame[~blank].copy()
    if len(frame) == 0:
        raise DataError(f"{path}: no rows below the header")
    for name in texts:
        frame[name] = frame[name].map(as_text)
    return frame


def as_text(cell: object) -> str:
    """A cell as text: without blanks around it, whole numbers without a decimal point, '' where missing."""
    if isinstance(cell, float):
        return "" if np.isnan(cell) else f"{cell:.0f}" if cell.is_integer() else str(cell)
    return "" if cell is None or cell is pd.NaT or cell is pd.NA else str(cell).strip()


def read_parquet(path: Path, needed: Sequence[str]) -> pd.DataFrame:
    """The columns needed of a Parquet file; the index counts rows from 1 on."""
    import pyarrow.parquet as parquet  # half a second that tables of text need not wait for

    try:
        header = parquet.read_schema(path).names
        check_columns(f"{path}", header, needed)
        frame = pd.read_parquet(path, columns=list(needed))
    except (OSError, ValueError) as error:  # pyarrow's errors are these
        raise DataError(f"{path}: not a whole Parquet file ({error})") from error
    return frame.set_index(pd.RangeIndex(1, 1 + len(frame)))


def read_text(path: Path, numbers: Sequence[str], texts: Sequence[str], delimiter: str) -> pd.DataFrame:
    """The columns needed of a CSV file; the index is the line. Numbers that cannot be parsed stay text."""
    lines = check_lines(path, [*numbers, *texts], delimiter)

    def parse(kind: type) -> pd.DataFrame:
        return pd.read_csv(
            path,
            sep=delimiter,
            usecols=[*numbers, *texts],
            dtype=dict.fromkeys(texts, object) | dict.fromkeys(numbers, kind),
            na_values={name: list(MISSING_NUMBERS) for name in numbers} | {name: [""] for name in texts},
            keep_default_na=False,
            skip_blank_lines=False,
            encoding="utf-8-sig",
        )

    try:
        frame = parse(np.float64)
    except ValueError:
        frame = parse(object)  # `read_file` names the cell that is no number
    if len(frame) != lines - 1:
        raise DataError(f"{path}: {lines - 1} lines below the header hold {len(frame)} rows; a quote is not closed")
    return frame.set_index(pd.RangeIndex(2, 2 + len(frame)))


def check_columns(where: str, header: Sequence[str], needed: Sequence[str]) -> None:
    """Raises DataError for a column that is not there or stands twice."""
    for name in needed:
        if list(header).count(name) > 1:
            raise DataError(f"{where}: the column {name!r} stands twice")
        if name not in header:
            close = difflib.get_close_matches(name, header, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise DataError(f"{where}: no column {name!r}; there are {', '.join(map(repr, header))}{hint}")


def check_lines(path: Path, needed: Sequence[str], delimiter: str) -> int:
    """Checks that a file is UTF-8 text whose lines all have as many fields as the header, or none.

    Returns:
      How many lines it has.

    Raises:
      DataError: it is not, or lacks a column.
    """
    separator = delimiter.encode()
    number = 0
    fields_expected = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path}, line {number}: byte {error.object[error.start]:#x} is not UTF-8; save the table as UTF-8"
                ) from error
            text = text.removesuffix("\n").removesuffix("\r")
            if "\r" in text:
                raise DataError(f"{path}, line {number}: a carriage return within the line; end lines with a line feed")
            if "\0" in text:
                raise DataError(f"{path}, line {number}: a zero byte; this is not a text table")
            if number == 1:
                header = next(csv.reader([text], delimiter=delimiter), [])
                fields_expected = len(header)
                check_columns(f"{path}, line 1", header, needed)
            elif line.strip():
                quoted = '"' in text
                fields = len(next(csv.reader([text], delimiter=delimiter))) if quoted else line.count(separator) + 1
                if fields != fields_expected:
                    raise DataError(
                        f"{path}, line {number}: {fields} fields, expected {fields_expected} as in the header"
                    )
    if number == 0:
        raise DataError(f"{path}: empty")
    return number
