"""Reads tables of numbers from text files, in several threads; errors name the bad line."""

import functools
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
from pyarrow import csv

from dcdp_jax.errors import DataError

BLOCK = 2 << 20  # bytes that a thread parses at a time
LARGEST = float(np.finfo(np.float32).max)
# More threads gain little and need more memory.
THREADS = 4
Part = TypeVar("Part")
NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def read_columns(
    path: Path,
    columns: int,
    signals: range | tuple[int, ...],
    exact: range | tuple[int, ...] = (),
    *,
    delimiter: str = " ",
    missing: bool = False,
    aligned: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Reads some columns of a table of numbers, which is much faster than reading all of them.

    Several threads parse a block each with PyArrow, which checks the number of columns of every line, and the content
    of the chosen columns only.

    Args:
      path: of a text file.
      columns: number of fields on every line.
      signals: columns to read as float32, counted from 0.
      exact: columns to read as float64.
      delimiter: character between two fields; a blank stands for any run of blanks.
      missing: whether a field may be NaN.
      aligned: whether the file is known to have runs of blanks, which makes reading it faster.

    Returns:
      (t, c) float32 and (t, k) float64, for t lines.

    Raises:
      DataError: the file is absent or empty, or a line has another number of columns or something that is not a
        finite number; the message names the file, the line, what came and what was expected.
    """
    chosen = (*signals, *exact)

    def parse_block(text: bytes, _: int, tidy: bool) -> pa.Table:
        return parse(single_blanks(text) if tidy else text, columns, tuple(signals), tuple(exact), delimiter)

    try:
        tables = in_blocks(path, functools.partial(parse_block, tidy=aligned))
    except OSError as error:
        raise unreadable(path, error) from error
    except pa.ArrowInvalid as error:
        if bad := first_bad_line(path, columns, delimiter, chosen, missing):
            raise DataError(bad) from error
        try:
            tables = in_blocks(path, functools.partial(parse_block, tidy=True))
        except pa.ArrowInvalid:
            raise DataError(f"{path}: {error}") from error
    if not any(table.num_rows for table in tables):
        raise DataError(f"{path}: empty")
    table = end_to_end(tables, len(signals), len(exact))
    acceptable = (lambda part: ~np.isinf(part)) if missing else np.isfinite
    if not all(acceptable(part).all() for part in table):
        bad = first_bad_line(path, columns, delimiter, chosen, missing)
        raise DataError(bad or f"{path}: a number that is not finite")
    return table


def read_codes(path: Path, highest: Sequence[int], names: Sequence[str]) -> np.ndarray:
    """Returns a table of whole numbers from 1 to the `highest` of each column, (lines, columns) int64.

    Raises:
      DataError: see `read_columns`; or a number is not whole or not in its range. The message has the column's name.
    """
    _, table = read_columns(path, len(highest), (), range(len(highest)), aligned=True)
    bad = np.argwhere((table < 1) | (table > np.array(highest)) | (table != np.round(table)))
    if bad.size:
        line, column = bad[0]
        raise DataError(
            f"{path}, line {line + 1}: {names[column]} {table[line, column]:g}, expected a whole number from 1 to "
            f"{highest[column]:,}"
        )
    return table.astype(np.int64)


def single_blanks(text: bytes) -> bytes:
    """Returns the lines with one blank between fields, none around them, and no blank lines at the end."""
    characters = np.frombuffer(text.replace(b"\t", b" "), np.uint8)
    blank = characters == ord(" ")
    after_gap = np.concatenate([[True], (blank | (characters == ord("\n")))[:-1]])
    single = characters[~(blank & after_gap)].tobytes()
    return single.replace(b" \r", b"\r").replace(b" \n", b"\n").rstrip(b" \r\n") + b"\n"


def in_blocks(path: Path, parse_block: Callable[[bytes, int], Part]) -> list[Part]:
    """Parses whole lines of a text file, a block at a time, in several threads; returns the results in their order.

    The function takes the text of some lines and their position in the file in bytes.
    """

    def read_block(start: int, end: int) -> Part:
        with path.open("rb") as file:
            file.seek(start)
            return parse_block(file.read(end - start), start)

    ranges = list(line_ranges(path))
    starts, ends = zip(*ranges, strict=True) if ranges else ((), ())
    return in_threads(read_block, starts, ends)


def in_threads(function: Callable[..., Part], *arguments: Sequence) -> list[Part]:
    """Returns a list of what `map` yields, computed in several threads."""
    if len(arguments[0]) < 2:  # starting threads takes longer than reading a small file
        return list(map(function, *arguments))
    with ThreadPoolExecutor(min(pa.cpu_count(), THREADS)) as threads:
        return list(threads.map(function, *arguments))


def line_ranges(path: Path) -> Iterator[tuple[int, int]]:
    """Yields first and last position of blocks of whole lines, about `BLOCK` bytes each."""
    size, start = os.path.getsize(path), 0
    with path.open("rb") as file:
        while start < size:
            file.seek(min(start + BLOCK, size))
            file.readline()
            yield start, file.tell()
            start = file.tell()


def parse(text: bytes, columns: int, signals: tuple[int, ...], exact: tuple[int, ...], delimiter: str) -> pa.Table:
    """Parses the columns that `read_columns` returns from some lines, without its checks; empty without lines."""
    if text == b"\n":
        return pa.table({})
    names = [str(c) for c in range(columns)]
    read_options = csv.ReadOptions(column_names=names, block_size=len(text) + 1, use_threads=False)
    parse_options = csv.ParseOptions(delimiter=delimiter, quote_char=False, ignore_empty_lines=False)
    return csv.read_csv(pa.BufferReader(text), read_options, parse_options, convert_options(signals, exact))


def end_to_end(tables: Sequence[pa.Table], signals: int, exact: int) -> tuple[np.ndarray, np.ndarray]:
    """Joins tables; returns their first columns as (t, signals) float32 and their last as (t, exact) float64."""
    tables = [table for table in tables if table.num_rows]
    ends = list(itertools.accumulate(table.num_rows for table in tables))
    rows = ends[-1] if ends else 0
    parts = np.empty((rows, signals), np.float32), np.empty((rows, exact), np.float64)

    def place(table: pa.Table, end: int) -> None:
        arrays = [column.to_numpy() for column in table.columns]
        for part, columns in zip(parts, (arrays[:signals], arrays[signals:]), strict=True):
            if columns:
                np.stack(columns, axis=1, out=part[end - table.num_rows : end])

    in_threads(place, tables, ends)
    return parts


@functools.cache
def convert_options(signals: tuple[int, ...], exact: tuple[int, ...]) -> csv.ConvertOptions:
    """Returns the types of the columns; cached, because making this takes longer than reading a small file."""
    types = {str(c): pa.float32() for c in signals} | {str(c): pa.float64() for c in exact}
    return csv.ConvertOptions(include_columns=list(types), column_types=types, null_values=[])


def unreadable(path: Path, error: OSError) -> DataError:
    """Returns the error for a file that does not exist or cannot be read."""
    return DataError(f"{path}: no such file" if isinstance(error, FileNotFoundError) else f"{path}: {error.strerror}")


def first_bad_line(path: Path, columns: int, delimiter: str, chosen: tuple[int, ...], missing: bool) -> str | None:
    """Describes the first line that is not as `read_columns` expects, or returns None.

    Blank lines at the end of the file are allowed. Only the content of the `chosen` columns is checked.
    """
    number, blank = 0, 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            text = line.rstrip(b"\r\n").replace(b"\t", b" ").strip(b" ")
            if not text:
                blank = blank or number
                continue
            if blank:
                return f"{path}, line {blank}: empty, expected {columns} columns"
            fields = [field.strip(b" ") for field in text.split(delimiter.encode())]
            if delimiter == " ":
                fields = [field for field in fields if field]
            if len(fields) != columns:
                return f"{path}, line {number}: {len(fields)} columns, expected {columns}"
            for column in sorted(chosen):
                field = fields[column]
                if not (is_finite_number(field) or (missing and field.lower() == b"nan")):
                    return f"{path}, line {number}, column {column + 1}: {show(field)} is not a finite number"
    return f"{path}: empty" if number == 0 or blank == 1 else None


def show(field: bytes) -> str:
    """Returns the beginning of a field for an error message."""
    return repr(field[:40].decode("ascii", "backslashreplace"))


def is_finite_number(field: bytes) -> bool:
    """Returns whether the bytes are a decimal number that is finite in single precision."""
    return NUMBER.fullmatch(field) is not None and abs(float(field)) <= LARGEST


def codes_to_labels(path: Path, codes: np.ndarray, classes: dict[int, int], first_line: int = 1) -> np.ndarray:
    """Returns (t,) int32 class indices for a publisher's (t,) numeric codes, one on each line of a file from the first.

    Raises:
      DataError: a code that is not among classes, {code: class index}; the message names the line.
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


def fill_missing(signals: np.ndarray, leading: str) -> np.ndarray:
    """Replaces NaN in (t, c) float32 signals, in place; returns the (c,) number of missing values.

    Values are linear between their neighbours, and the last one is held at the end. At the beginning they are 0 with
    `leading` 'zero', and the first value there is with 'nearest'. A channel without any value becomes 0.
    """
    columns = np.ascontiguousarray(signals.T)  # contiguous columns, because those of a wide table are strided
    absent = np.isnan(columns)
    left = 0.0 if leading == "zero" else None

    def fill(column: np.ndarray, gaps: np.ndarray) -> None:
        known = np.flatnonzero(~gaps)
        if known.size < column.size:
            column[gaps] = np.interp(np.flatnonzero(gaps), known, column[known], left=left) if known.size else 0

    in_threads(fill, list(columns), list(absent))
    signals[:] = columns.T
    return absent.sum(axis=1)


def stretch_starts(path: Path, times: np.ndarray, longest_step: float) -> np.ndarray:
    """Returns the (s,) int64 first samples of the stretches in which (t,) times advance by at most longest_step.

    Raises:
      DataError: a time is missing, in which case the message names the line of the file, or most of them repeat.
    """
    if np.isnan(times).any():
        raise DataError(f"{path}, line {np.flatnonzero(np.isnan(times))[0] + 1}: NaN, expected a time")
    step = np.diff(times)
    if 2 * (repeated := np.count_nonzero(step == 0)) > len(step):
        raise DataError(
            f"{path}: {repeated:,} of {len(times):,} lines have the time of the line before, as where a spreadsheet "
            "has cut times to whole seconds; expected the published file"
        )
    return np.concatenate([[0], np.flatnonzero((step <= 0) | (step > longest_step)) + 1]).astype(np.int64)
