"""Checks the fields of `data.table`, which describe the user's tables."""

import re
from typing import Any

from ml_collections import ConfigDict

from dcdp_jax.data.recording import Channel
from dcdp_jax.data.units import KNOWN, unit_name
from dcdp_jax.errors import ConfigError
from dcdp_jax.values import check_values, fields_of

GROUPS = ("subject", "recording", "label")  # named groups that data.table.path_pattern may have


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


def keeps_rows(table: ConfigDict) -> bool:
    """Returns whether every row is a sample: the table has no time, and its files do not state a rate."""
    return not table.time and not table.preamble
