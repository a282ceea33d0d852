"""Tables of numbers in text files, read fast, and checked so that a bad line is named."""

from pathlib import Path

import numpy as np
import pandas as pd

from dcdp_jax.errors import DataError


def read_numbers(path: Path, columns: int) -> np.ndarray:
    """Reads a table of finite numbers separated by blanks.

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
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise DataError(first_bad_line(path, columns) or f"{path}: {error}") from error
    if table.shape[1] != columns or not np.isfinite(table).all():
        raise DataError(
            first_bad_line(path, columns) or f"{path}: {table.shape[1]} columns read, expected {columns}"
        )
    return table


def first_bad_line(path: Path, columns: int) -> str | None:
    """Says what is wrong with the first line that is not `columns` finite numbers; None where all lines are."""
    with path.open("rb") as file:
        number = 0
        for number, line in enumerate(file, 1):
            fields = line.split()
            if len(fields) != columns:
                return f"{path}, line {number}: {len(fields)} columns, expected {columns}"
            for column, field in enumerate(fields, 1):
                if not is_finite_number(field):
                    return f"{path}, line {number}, column {column}: {field[:40]!r} is not a finite number"
    return f"{path}: empty" if number == 0 else None


def is_finite_number(field: bytes) -> bool:
    """Whether the bytes are a decimal number that is neither infinite nor NaN."""
    try:
        return bool(np.isfinite(float(field.decode("ascii"))))
    except ValueError:
        return False
