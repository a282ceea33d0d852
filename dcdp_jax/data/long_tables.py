"""Finds tables with a row for each sensor or axis, which are not read: a row must have all signals of its time."""

from collections.abc import Sequence

import pandas as pd

from dcdp_jax.data.names import clean_names
from dcdp_jax.errors import DataError

HEAD = 256  # rows that are looked at
MOST_SENSORS = 32
OFTEN = 0.1  # of the rows of one recording have another sensor than the row before
SWITCHES = {"true", "false", "yes", "no", "on", "off"}  # flags, which change often as well


def check_wide(where: str, head: pd.DataFrame, unread: Sequence[str], keys: Sequence[str]) -> dict[str, str]:
    """Raises DataError where a column of text that no field names seems to name the sensor or the axis of its row.

    Args:
      where: the file.
      head: the first rows of all columns.
      unread: columns that no field names.
      keys: columns that tell recordings and labels apart.

    Returns:
      {a question: where} for columns of numbers that change in the same way.
    """
    doubts = {}
    for name in unread:
        cells = clean_names(head[name].astype(str))
        distinct = sorted(set(cells) - {""})
        if not 2 <= len(distinct) <= MOST_SENSORS or {cell.casefold() for cell in distinct} <= SWITCHES:
            continue
        before = cells.groupby([head[key].astype(str) for key in keys]).shift() if keys else cells.shift()
        if (cells != before)[before.notna()].mean() < OFTEN:
            continue
        what = f"the column {name!r} changes from row to row between {', '.join(distinct[:4])}"
        if all(cell.isdecimal() for cell in distinct):
            doubts[f"{what}; if it names the sensor, bring the table into wide form"] = where
        elif pd.to_numeric(pd.Series(distinct), errors="coerce").isna().all():
            raise DataError(
                f"{where}: {what}, as in a long table with a row for each sensor or axis; expected a column for each "
                "signal: bring it into wide form (pandas' pivot, see docs/your_own_data.md), or remove the column"
            )
    return doubts
