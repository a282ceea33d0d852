"""Reads named columns of comma-separated files that begin with a line of column names."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from dcdp_jax.data.text import LARGEST, unreadable
from dcdp_jax.errors import DataError

HEADER_LINES = 1
LONGEST_SHOWN = 200  # bytes of a header in a message


def read_named(
    path: Path, numbers: Sequence[str], time: str = "", content: bytes | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Reads columns of numbers, and perhaps of dates as `2019-01-12 00:00:00.020`, by their names.

    The content of the file may be in memory; its path is for messages then. Returns (t, c) float64, and the (t,)
    seconds since the first date, (0,) without a column of dates.

    Raises:
      DataError: the file cannot be read, lacks a column, has a line of another length, or a cell that is no finite
        number or no date; the message names the file, and the line or column.
    """
    types: dict[str, pa.DataType] = dict.fromkeys(numbers, pa.float64())
    if time:
        types[time] = pa.timestamp("ms")
    try:
        table = csv.read_csv(
            path if content is None else pa.BufferReader(content),
            # With threads, errors do not name the row.
            read_options=csv.ReadOptions(use_threads=False),
            parse_options=csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(
                column_types=types, include_columns=list(types), null_values=[""], strings_can_be_null=False
            ),
        )
    except OSError as error:
        raise unreadable(path, error) from error
    except pa.ArrowKeyError as error:
        with path.open("rb") if content is None else io.BytesIO(content) as file:
            came = file.readline(LONGEST_SHOWN).decode("utf-8", "backslashreplace").strip()
        raise DataError(f"{path}, line 1: {came!r}; expected the columns {', '.join(types)}") from error
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: {error}") from error
    if not len(table):
        raise DataError(f"{path}: no line below the column names")
    columns = []
    for name in types:
        # An empty cell is null, and null becomes NaN or NaT.
        values = table[name].to_numpy()
        bad = np.flatnonzero(np.isnat(values) if name == time else ~(np.abs(values) <= LARGEST))
        if bad.size:
            line = bad[0] + 1 + HEADER_LINES
            raise DataError(f"{path}, line {line}, column {name!r}: no {'date' if name == time else 'finite number'}")
        columns.append((values - values[0]) / np.timedelta64(1, "s") if name == time else values)
    return np.stack(columns[: len(numbers)], axis=1), columns[-1] if time else np.zeros(0)
