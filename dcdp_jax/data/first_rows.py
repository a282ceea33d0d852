"""Looks for mistakes in the first rows of a table: a row for each sensor or axis, thousands read as decimals."""

import re
from collections.abc import Sequence

import pandas as pd

from dcdp_jax.data.names import clean_names
from dcdp_jax.errors import DataError

HEAD = 1024  # rows that are checked; enough for sensors that do not start together
MOST_SENSORS = 32
OFTEN = 0.1  # smallest share of the rows of one recording whose sensor differs from that of the row before
SWITCHES = {"true", "false", "yes", "no", "on", "off"}  # values of flags, which change often too


def check_wide(where: str, head: pd.DataFrame, unread: Sequence[str], keys: Sequence[str]) -> dict[str, str]:
    """Looks for an unread column that names the sensor or the axis of its row, as in a long table.

    The columns `keys` separate recordings and labels. Returns {question: where} for columns of small whole numbers,
    which may name the sensor. Raises DataError for a column of text.
    """
    doubts = {}
    for name in unread:
        if len(set(map(str, head[name]))) > 2 * MOST_SENSORS:
            continue
        cells = clean_names(head[name].astype(str))
        distinct = sorted(set(cells) - {""})
        if not 2 <= len(distinct) <= MOST_SENSORS or {cell.casefold() for cell in distinct} <= SWITCHES:
            continue
        before = cells.groupby([head[key].astype(str) for key in keys]).shift() if keys else cells.shift()
        if (cells != before)[before.notna()].mean() < OFTEN:
            continue
        what = f"the column {name!r} changes from row to row between {', '.join(distinct[:4])}"
        if all(cell.isdecimal() and len(cell) < 3 for cell in distinct):
            doubts[f"{what}; if it names the sensor, bring the table into wide form"] = where
        elif pd.to_numeric(pd.Series(distinct), errors="coerce").isna().all():
            raise DataError(
                f"{where}: {what}, as in a long table with a row for each sensor or axis; expected a column for each "
                "signal: bring it into wide form (pandas' pivot, see docs/your_own_data.md), or remove the column"
            )
    return doubts


def find_thousands(where: str, head: pd.DataFrame, numbers: Sequence[str], decimal: str) -> dict[str, str]:
    """Returns {doubt: where} for columns whose cells all look like '1.024' or '512', if the point is decimal."""
    doubts = {}
    form = rf"[+-]?(?:\d{{1,3}}|[1-9]\d{{0,2}}{re.escape(decimal)}\d{{3}})"
    for name in numbers:
        cells = set(map(str.strip, head[name])) - {""}
        long = sorted(cell for cell in cells if decimal in cell)
        if 0 < len(long) < len(cells) and all(re.fullmatch(form, cell) for cell in cells):
            doubts[f"{name!r} may have thousands that are read as decimals, as {long[0]!r}"] = where
    return doubts
