"""Tables of numbers in text files, read fast, and checked so that a bad line is named."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from dcdp_jax.errors import DataError

BLOCK = 1 << 20
NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def read_numbers(path: Path, columns: int) -> np.ndarray:
    """Reads a table of finite numbers separated by any run of blanks.

    Args:
      path: a text file.
      columns: numbers on every line.

    Returns:
      (lines, columns) float64.

    Raises:
      DataError: the file is absent or empty, or a line has another number of columns or something that is not a
        finite number; the message names the file, the line, what came and what was expected.
    """
    try:
        table = pd.read_csv(
            path, sep=r"\s+", header=None, dtype=np.float64, na_filter=False, skip_blank_lines=False
        ).to_numpy()
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:  # pandas' parser errors and decoding errors are ValueErrors
        if bad := first_bad_line(path, columns):
            raise DataError(bad) from error
        table = pd.read_csv(path, sep=r"\s+", header=None, dtype=np.float64).to_numpy()  # blank lines at the end
    if table.shape[1] != columns or not np.isfinite(table).all():
        raise DataError(first_bad_line(path, columns) or f"{path}: {table.shape[1]} columns read, expected {columns}")
    return table


def read_columns(
    path: Path,
    columns: int,
    signals: range | tuple[int, ...],
    exact: tuple[int, ...] = (),
    *,
    delimiter: str = " ",
    missing: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Reads some columns of a table of numbers, several times as fast as all of them.

    PyArrow's reader checks the number of columns of every line and the content of the columns that are asked for; the
    others are not looked at. It wants exactly one delimiter between numbers: a file that has more blanks, and nothing
    else against it, is read again by pandas.

    Args:
      path: a text file.
      columns: fields on every line.
      signals: columns to read as float32, counted from 0.
      exact: columns to read as float64.
      delimiter: what stands between two fields.
      missing: whether a field may be NaN.

    Returns:
      (t, c) float32 and (t, k) float64, for t lines.

    Raises:
      DataError: as `read_numbers`; NaN is accepted if missing is True.
    """
    chosen = tuple(signals) + exact
    try:
        table = parse(str(path), columns, tuple(signals), exact, delimiter)
    except OSError as error:
        raise unreadable(path, error) from error
    except pa.ArrowInvalid as error:
        bad = first_bad_line(path, columns, delimiter, chosen, missing)
        if bad or delimiter != " ":
            raise DataError(bad or f"{path}: {error}") from error
        whole = pd.read_csv(path, sep=r"\s+", header=None, usecols=list(chosen), dtype=np.float64)
        table = whole[list(signals)].to_numpy(np.float32), whole[list(exact)].to_numpy(np.float64)
    acceptable = (lambda part: ~np.isinf(part)) if missing else np.isfinite
    if not all(acceptable(part).all() for part in table):
        bad = first_bad_line(path, columns, delimiter, chosen, missing)
        raise DataError(bad or f"{path}: a number that is not finite")
    return table


def parse(
    source: str | pa.BufferReader, columns: int, signals: tuple[int, ...], exact: tuple[int, ...], delimiter: str
) -> tuple[np.ndarray, np.ndarray]:
    """What `read_columns` returns, of a path or of bytes, without its checks and its error messages."""
    types = {str(c): pa.float32() for c in signals} | {str(c): pa.float64() for c in exact}
    batches = csv.open_csv(
        source,
        csv.ReadOptions(column_names=[str(c) for c in range(columns)], block_size=BLOCK),
        csv.ParseOptions(delimiter=delimiter, quote_char=False, ignore_empty_lines=False),
        csv.ConvertOptions(include_columns=list(types), column_types=types, null_values=[]),
    )
    parts: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for batch in batches:
        arrays = [column.to_numpy() for column in batch.columns]
        parts[0].append(columns_to_rows(arrays[: len(signals)], batch.num_rows, np.float32))
        parts[1].append(columns_to_rows(arrays[len(signals) :], batch.num_rows, np.float64))
    return np.concatenate(parts[0]), np.concatenate(parts[1])


def columns_to_rows(arrays: list[np.ndarray], rows: int, dtype: type) -> np.ndarray:
    """(rows, columns) of a list of columns, which may be empty."""
    return np.stack(arrays, axis=1) if arrays else np.empty((rows, 0), dtype)


def unreadable(path: Path, error: OSError) -> DataError:
    """The error for a file that is not there or cannot be read."""
    return DataError(f"{path}: no such file" if isinstance(error, FileNotFoundError) else f"{path}: {error.strerror}")


def first_bad_line(
    path: Path,
    columns: int,
    delimiter: str = " ",
    chosen: tuple[int, ...] | None = None,
    missing: bool = False,
) -> str | None:
    """Says what is wrong with the first line that is not what it should be.

    Args:
      path: a text file.
      columns: fields on every line.
      delimiter: what stands between two fields; a blank stands for any run of blanks.
      chosen: columns whose content matters, all by default.
      missing: whether a field may be NaN.

    Returns:
      A message with file, line, what came and what was expected; None where all lines are right. Blank lines at the
      end of a file are right.
    """
    separator = None if delimiter == " " else delimiter.encode()
    number, blank = 0, 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                blank = blank or number
                continue
            if blank:
                break
            fields = line.strip().split(separator)
            if len(fields) != columns:
                return f"{path}, line {number}: {len(fields)} columns, expected {columns}"
            for column in range(columns) if chosen is None else sorted(chosen):
                field = fields[column].strip()
                if not (is_finite_number(field) or (missing and field.lower() == b"nan")):
                    return f"{path}, line {number}, column {column + 1}: {show(field)} is not a finite number"
        else:
            return f"{path}: empty" if number == 0 or blank == 1 else None
    return f"{path}, line {blank}: empty, expected {columns} columns"


def show(field: bytes) -> str:
    """The beginning of a field, for an error message."""
    return repr(field[:40].decode("ascii", "backslashreplace"))


def is_finite_number(field: bytes) -> bool:
    """Whether the bytes are a decimal number that is finite in single precision."""
    return NUMBER.fullmatch(field) is not None and bool(abs(float(field)) <= np.finfo(np.float32).max)


def codes_to_labels(path: Path, codes: np.ndarray, classes: dict[int, int], first_line: int = 1) -> np.ndarray:
    """Class indices of a publisher's numeric codes.

    Args:
      path: where they come from, for the error.
      codes: (t,) float, one per line.
      classes: {code: class index}.
      first_line: line of the first code.

    Returns:
      (t,) int32.

    Raises:
      DataError: a code that is not among classes; the message names the line.
    """
    known = np.array(sorted(classes))
    position = np.searchsorted(known, codes).clip(max=len(known) - 1)
    unknown = np.flatnonzero(known[position] != codes)
    if unknown.size:
        raise DataError(
            f"{path}, line {first_line + unknown[0]}: label {codes[unknown[0]]:.10g}, expected one of "
            f"{', '.join(map(str, known))}"
        )
    return np.array([classes[code] for code in known], np.int32)[position]


def fill_missing(signals: np.ndarray, leading: str) -> int:
    """Replaces NaN, in place: linear between its neighbours, the last value held at the end.

    Args:
      signals: (t, c) float32.
      leading: what NaN at the beginning becomes: 'zero', or 'nearest' for the first value there is. A channel without
        any value becomes 0.

    Returns:
      How many values were missing.
    """
    count = 0
    for column in np.flatnonzero(np.isnan(signals).any(axis=0)):
        absent = np.isnan(signals[:, column])
        count += int(absent.sum())
        known = np.flatnonzero(~absent)
        if known.size == 0:
            signals[:, column] = 0
            continue
        values = signals[known, column]
        left = 0.0 if leading == "zero" else None
        signals[absent, column] = np.interp(np.flatnonzero(absent), known, values, left=left)
    return count


def stretch_starts(times: np.ndarray, longest_step: float) -> np.ndarray:
    """First sample of each stretch in which time goes forward by no more than longest_step from sample to sample.

    Args:
      times: (t,) time of each sample.
      longest_step: in the unit of times.

    Returns:
      (s,) int64, beginning with 0.
    """
    step = np.diff(times)
    return np.concatenate([[0], np.flatnonzero((step <= 0) | (step > longest_step)) + 1]).astype(np.int64)
