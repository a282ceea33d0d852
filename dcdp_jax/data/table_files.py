"""Reads the user's tables, CSV or Parquet. Errors name the file, the line and the column.

Text is parsed by `Lines`, files in blocks and a live stream as its lines arrive, so that both are read in the same way.
"""

import contextlib
import csv
import difflib
import glob
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import pandas as pd
from ml_collections import ConfigDict

from dcdp_jax.data.table_cells import MISSING_NUMBERS, TIME, finish_frame, has_time_zone, read_stamp, to_numbers
from dcdp_jax.data.table_checks import HEAD, check_wide, find_thousands
from dcdp_jax.errors import DataError

TEXT_SUFFIXES = (".csv", ".txt", ".tsv", ".csv.gz", ".txt.gz", ".tsv.gz")
SUFFIXES = (*TEXT_SUFFIXES, ".parquet")
BLOCK = 2**24  # bytes of text that are parsed at a time
NANOSECONDS = 10**9
MOST_LINES = 2**20  # that a spreadsheet opens and saves


def find_files(raw_dir: Path, patterns: Sequence[str]) -> list[Path]:
    """Returns the files below a folder that match `data.table.files`, ignoring case, sorted by path.

    Links to folders are followed, and a file that is found by two paths is returned once. As in a shell, `*` matches no
    hidden file, such as `._a.csv` of macOS.
    """
    if not raw_dir.is_dir():
        raise DataError(f"{raw_dir}: no such folder; data.raw_dir (or DCDP_RAW_DIR) is the one with the tables")
    found: dict[Path, Path] = {}
    for pattern in patterns:
        names = glob.glob(any_case(pattern), root_dir=raw_dir, recursive=True)
        matches = sorted(path for name in names if (path := raw_dir / name).is_file())
        if not matches:
            raise DataError(f"{raw_dir}: no file matches data.table.files={pattern!r}")
        if not matches[0].is_relative_to(raw_dir):
            raise DataError(f"{matches[0]}: not below {raw_dir}, which data.table.files={pattern!r} begins in")
        if wrong := [path for path in matches if not is_table(path)]:
            raise DataError(f"{wrong[0]}: not one of {', '.join(SUFFIXES)}")
        for path in matches:
            found.setdefault(path.resolve(), path)
    return sorted(found.values())


def any_case(pattern: str) -> str:
    """Returns a glob pattern that matches letters of either case.

    >>> any_case("**/*.csv")
    '**/*.[cC][sS][vV]'
    """
    parts = re.split(r"(\[.*?\])", pattern)
    return "".join(
        part if part.startswith("[") else re.sub("[A-Za-z]", lambda m: f"[{m[0].lower()}{m[0].upper()}]", part)
        for part in parts
    )


def is_table(path: Path) -> bool:
    """Returns whether a file has the suffix of a table."""
    return path.name.lower().endswith(SUFFIXES)


class Lines:
    """Parses the lines of a text table."""

    def __init__(self, where: str, table: ConfigDict) -> None:
        """Starts before the first line; table: the `data.table` part of a config."""
        self.where, self.table = where, table
        self.header: list[str] = []  # names of the columns, once `read_head` has found them
        self.zoned: bool | None = None  # whether dates have a time zone or an offset from UTC; None before the first
        self.head: list[str] = []  # the first lines that were parsed, up to `HEAD`
        self.doubts: dict[str, str] = {}  # {what may be wrong with the table: where}
        self._before = ""  # the line before the first row, unless it is the header or part of the preamble
        self.number = 0  # number of lines consumed
        self._rows = 0  # number of rows among them
        self._numbers: tuple[str, ...] = ()
        self._texts: tuple[str, ...] = ()
        self._time = ""
        self._start, self._rate = 0, 0.0  # nanoseconds and rows per second, if the preamble has them

    def read_head(self, lines: Iterator[bytes]) -> list[str]:
        """Consumes the lines before the first row, and returns the names of the columns."""
        skipped = [self._next(lines) for _ in range(self.table.skip_lines)]
        if self.table.preamble:
            self._read_preamble("\n".join(skipped))
        names = list(self.table.header)
        if names and skipped and not self.table.preamble:
            self._before = skipped[-1]
        if not names:
            names = next(csv.reader([self._next(lines)], delimiter=self.table.delimiter), [])
        if not names:
            raise DataError(f"{self.where}, line {self.number}: empty, expected the names of the columns")
        for _ in range(self.table.units_rows):
            self._before = self._next(lines)
        self.header = names
        return names

    def choose(self, numbers: Sequence[str], texts: Sequence[str], time: str) -> None:
        """Chooses the columns that `parse` returns: numbers, which may be missing, texts, and the time, '' for none.

        Raises:
          DataError: a column is missing, or occurs twice.
        """
        check_columns(f"{self.where}, line {self.number}", self.header, [*numbers, *texts, *([time] if time else [])])
        self._numbers, self._texts, self._time = tuple(numbers), tuple(texts), time
        cells = dict(
            zip(self.header, next(csv.reader([self._before], delimiter=self.table.delimiter), []), strict=False)
        )
        needed = [
            cells.get(name) for name in (*numbers, *([time] if time and self.table.time_unit != "datetime" else []))
        ]
        if self._before and not np.isnan(to_numbers(pd.Series(needed, dtype=object), self.table.decimal)).any():
            field = "units_rows" if self.table.units_rows else "skip_lines"
            skips = f"data.table.{field}={self.table[field]} skips a line with a number in every column of numbers"
            self.doubts[skips] = f"{self.where}, line {self.number}"

    def _next(self, lines: Iterator[bytes]) -> str:
        line = next(lines, None)
        if line is None:
            at = f" after {self.number} lines" if self.number else ""
            raise DataError(f"{self.where}: empty{at}")
        self.number += 1
        return self._text(line, self.number)

    def _read_preamble(self, skipped: str) -> None:
        found = re.search(self.table.preamble, skipped)
        if found is None:
            raise DataError(f"{self.where}: data.table.preamble={self.table.preamble!r} is not in the skipped lines")
        groups = found.groupdict()
        self._rate = float(pd.to_numeric(groups["rate"], errors="coerce"))
        if not 0 < self._rate < 1e9:
            raise DataError(
                f"{self.where}: data.table.preamble={self.table.preamble!r} must find a group (?P<rate>...) with the "
                f"rows per second; it found {groups}"
            )
        if text := groups.get("start"):
            start = read_stamp(text, self.table)
            if start is None:
                raise DataError(f"{self.where}: {text!r} in the skipped lines is not a time")
            self._start = start

    def _text(self, line: bytes, number: int) -> str:
        """Returns a line as text, without its end."""
        where = f"{self.where}, line {number}"
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{where}: byte {error.object[error.start]:#x} is not UTF-8; save the table as UTF-8"
            ) from error
        text = text.removesuffix("\n").removesuffix("\r")
        if "\r" in text:
            raise DataError(f"{where}: a carriage return within the line; end lines with a line feed")
        if "\0" in text:
            raise DataError(f"{where}: a zero byte; this is not a text table")
        return text.removesuffix(self.table.line_end)

    def parse(self, lines: Sequence[bytes]) -> pd.DataFrame:
        """Parses the next lines, and consumes them if all are valid.

        Returns:
          A frame of the columns chosen, as `read_file` returns it. Blank lines are left out.

        Raises:
          DataError: a line has too few or too many fields, or a cell in a column of numbers that is not a number.
        """
        cleaned, at = [], []
        for number, line in enumerate(lines, self.number + 1):
            text = self._text(line, number)
            if text.strip():
                self._check_fields(text, f"{self.where}, line {number}")
                cleaned.append(text)
                at.append(number)
        frame = self._parse(cleaned)
        if len(frame) != len(at):
            raise DataError(f"{self.where}: lines {at[0]} to {at[-1]} hold {len(frame)} rows; a quote is not closed")
        frame.index = pd.Index(at, dtype=np.int64)
        frame = finish_frame(frame, self._numbers, self._time, self.table, f"{self.where}, line")
        if self._time and len(frame):
            zoned = has_time_zone(frame[self._time])
            if self.zoned not in (None, zoned):
                raise DataError(
                    f"{self.where}, line {frame.index[0]}, column {self._time!r}: {frame[self._time].iloc[0]!r} has "
                    f"{'a' if zoned else 'no'} time zone or offset, unlike the rows before"
                )
            self.zoned = zoned
        self.head = self.head or cleaned[:HEAD]
        if self._rate:
            ticks = np.rint((self._rows + np.arange(len(frame))) * (NANOSECONDS / self._rate)).astype(np.int64)
            frame[TIME] = self._start + ticks
        self.number += len(lines)
        self._rows += len(frame)
        return frame

    def skip(self) -> None:
        """Consumes a line that could not be parsed. If the file has a rate, it counts as a row with missing values."""
        self.number += 1
        self._rows += 1

    def _check_fields(self, text: str, where: str) -> None:
        delimiter, expected = self.table.delimiter, len(self.header)
        quoted = '"' in text
        fields = len(next(csv.reader([text], delimiter=delimiter))) if quoted else text.count(delimiter) + 1
        if fields != expected:
            raise DataError(f"{where}: {fields} fields, expected {expected} as in the header")
        try:
            if quoted:
                next(csv.reader([text], delimiter=delimiter, strict=True))
        except csv.Error as error:
            raise DataError(f"{where}: a quote is not closed ({error})") from error

    def _parse(self, cleaned: Sequence[str]) -> pd.DataFrame:
        texts, numbers = list(self._texts), list(self._numbers)
        if self._time:
            (texts if self.table.time_unit == "datetime" else numbers).append(self._time)
        if not cleaned:
            kinds = dict.fromkeys(numbers, "float64") | dict.fromkeys(texts, "object")
            return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})
        if not numbers + texts:
            return pd.DataFrame(index=range(len(cleaned)))
        places = {self.header.index(name): name for name in (*numbers, *texts)}
        missing: Any = {at: list(MISSING_NUMBERS) if name in numbers else [""] for at, name in places.items()}

        def parse(kind: type) -> pd.DataFrame:
            return pd.read_csv(
                io.StringIO("\n".join(cleaned)),
                sep=self.table.delimiter,
                decimal=self.table.decimal,
                header=None,
                names=list(range(len(self.header))),
                index_col=False,
                usecols=list(places),
                dtype={at: kind if name in numbers else object for at, name in places.items()},
                na_values=missing,
                keep_default_na=False,
                skip_blank_lines=False,
            )

        try:
            frame = parse(np.float64)
        except ValueError:
            frame = parse(object)  # `check_numbers` names the cell that is no number
        frame.columns = pd.Index([name for _, name in sorted(places.items())])  # in the order of the file
        return frame


def read_file(path: Path, numbers: Sequence[str], texts: Sequence[str], time: str, table: ConfigDict) -> pd.DataFrame:
    """Reads the columns of a table, text or Parquet, that are needed; see `Lines.choose`.

    Returns:
      A frame whose index is the line in the file, for Parquet the row, from 1 on, with a float64 column for each of
      `numbers`. The column `TIME` is the time, see `read_stamps`, if there is a column of time or the file has its
      rate. With a column of time, lines in which all columns needed are missing are left out. Its `attrs` are
      `columns`, all names of the header, and `zoned` and `doubts` of `Lines`.

    Raises:
      DataError: the file is empty or not text, lacks a column, has a line with too few or too many fields, a cell in a
        column of numbers that is not a number, or a row for each sensor; the message names line and column.
    """
    if path.suffix.lower() == ".parquet":
        needed = [*numbers, *texts, *([time] if time else [])]
        doubts: dict[str, str] = {}
        with parquet_of(path) as parquet, parquet.ParquetFile(path) as file:
            header = list(file.schema_arrow.names)
            check_columns(f"{path}", header, needed)
            frame = file.read(columns=needed).to_pandas(ignore_metadata=True)
            batches = file.iter_batches(HEAD, columns=[name for name in header if name not in {*numbers, time}])
            head = next((rows.to_pandas(ignore_metadata=True) for rows in batches), pd.DataFrame(columns=header))
        frame.index = pd.RangeIndex(1, 1 + len(frame))
        zoned = has_time_zone(frame[time]) if time and len(frame) else None
        frame = finish_frame(frame, numbers, time, table, f"{path}, row")
    else:
        with open_text(path) as file:
            lines = Lines(str(path), table)
            lines.read_head(file)
            lines.choose(numbers, texts, time)
            frames = [lines.parse(block) for block in iter(lambda: file.readlines(BLOCK), [])]
            frame = pd.concat(frames or [lines.parse([])])
            header, zoned, doubts = lines.header, lines.zoned, lines.doubts
            head = pd.DataFrame(list(csv.reader(lines.head, delimiter=table.delimiter)), columns=header, dtype=object)
            doubts |= find_thousands(str(path), head, numbers, table.decimal)
            if lines.number == MOST_LINES:
                doubts[f"{MOST_LINES:,} lines, the most that a spreadsheet saves; is the end missing?"] = str(path)
    if len(frame) == 0:
        raise DataError(f"{path}: no rows below the header")
    unread = [name for name in header if name not in {*numbers, *texts, time} and header.count(name) == 1]
    doubts |= check_wide(str(path), head, unread if numbers else [], texts)
    frame.attrs = {"columns": header, "zoned": zoned, "doubts": doubts}
    return frame


@contextlib.contextmanager
def parquet_of(path: Path) -> Iterator[Any]:
    """Yields `pyarrow.parquet`, whose errors become a DataError that names the file."""
    import pyarrow.parquet as parquet  # here, because it takes half a second that text tables do not need

    try:
        yield parquet
    except (OSError, ValueError) as error:  # pyarrow's errors are these
        raise DataError(f"{path}: not a whole Parquet file ({error})") from error


@contextlib.contextmanager
def open_text(path: Path) -> Iterator[IO[bytes]]:
    """Opens a text file, compressed or not, for reading its bytes."""
    try:
        with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as file:
            yield cast(IO[bytes], file)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file ({error})") from error


def read_header(path: Path, table: ConfigDict) -> list[str]:
    """Returns the names of a table's columns; raises DataError if the file has none, or is damaged."""
    if path.suffix.lower() == ".parquet":
        with parquet_of(path) as parquet:
            return list(parquet.read_schema(path).names)
    with open_text(path) as file:
        return Lines(str(path), table).read_head(file)


def check_columns(where: str, header: Sequence[str], needed: Sequence[str]) -> None:
    """Raises DataError for a column that is missing or occurs twice."""
    for name in needed:
        if list(header).count(name) > 1:
            raise DataError(f"{where}: the column {name!r} stands twice")
        if name not in header:
            close = difflib.get_close_matches(name, header, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise DataError(f"{where}: no column {name!r}; there are {', '.join(map(repr, header))}{hint}")
