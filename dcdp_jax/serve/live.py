"""Samples on standard input, after a line of column names, and answers on standard output, a line each."""

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.data.table_files import LARGEST, MISSING_NUMBERS
from dcdp_jax.data.tables import SECONDS, TIME_UNITS
from dcdp_jax.errors import ConfigError, DataError
from dcdp_jax.runs.model_card import ModelCard
from dcdp_jax.serve.channels import find_columns, listed
from dcdp_jax.serve.model import load_model
from dcdp_jax.serve.stream import Recognizer

WHERE = "standard input"


def stream(config: ConfigDict, workdir: Path, smoothing: tuple[str, int]) -> None:
    """Reads samples from standard input and prints one JSON object per line and answer, as they come.

    Args:
      config: of the run.
      workdir: of the run, finished.
      smoothing: method and number of windows, see `Smoother`.

    Raises:
      UserError: the run is not finished, or what comes is not what the model reads.
    """
    model = load_model(workdir)
    recognizer = Recognizer(model, smoothing=smoothing, max_gap=config.data.table.max_gap)
    sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        for line in answers(recognizer, sys.stdin, config.data.table):
            print(json.dumps(line), flush=True)
    except KeyboardInterrupt:  # the way to end a stream that does not end by itself
        return
    except BrokenPipeError:  # whoever read the answers has ended; Python would complain once more when it flushes
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def answers(recognizer: Recognizer, lines: Iterable[str], table: ConfigDict) -> Iterator[dict[str, Any]]:
    """Pushes line after line.

    Args:
      recognizer: new.
      lines: first the names of the columns: channels, as `acc_x` or `acc_x [g]`, and the time, if there is one. A
        column that the model reads and that is not there is a missing sensor, and so is an empty cell.
      table: the `data.table` part of the config; read are `delimiter`, `time` and `time_unit`.

    Yields:
      `Event.as_json` of each answer.

    Raises:
      ConfigError: a field of `table` cannot be used.
      DataError: a line cannot be read, or no branch has all of its channels.
    """
    if table.time_unit not in TIME_UNITS:
        raise ConfigError(f"data.table.time_unit={table.time_unit!r} is none of {', '.join(TIME_UNITS)}")
    card = recognizer.card
    lines = iter(lines)
    header = next(csv.reader([next(lines, "")], delimiter=table.delimiter), [])
    columns = find_columns(f"{WHERE}, line 1", header, card.inputs)
    places = [header.index(columns[c.name]) if c.name in columns else None for c in card.inputs]
    time_place = header.index(table.time) if table.time and table.time in header else None
    introduce(card, columns, header, table.time if time_place is not None else "")
    first: float | None = None
    for number, line in enumerate(lines, 2):
        if not line.strip():
            continue
        cells = next(csv.reader([line], delimiter=table.delimiter))
        where = f"{WHERE}, line {number}"
        if len(cells) != len(header):
            raise DataError(f"{where}: {len(cells)} fields, expected {len(header)} as in the header")
        sample = np.array([[np.nan if place is None else value(where, header, cells, place) for place in places]])
        times = None
        if time_place is not None:
            seconds = in_seconds(where, cells[time_place], table.time_unit)
            first = seconds if first is None else first
            times = np.array([seconds - first])
        try:
            events = recognizer.push(sample, times)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        for event in events:
            yield event.as_json(card)


def introduce(card: ModelCard, columns: dict[str, str], header: Sequence[str], time: str) -> None:
    """Says on standard error what is read, and what is missing; raises DataError where nothing could be predicted."""
    absent = [channel for channel in card.inputs if channel.name not in columns]
    names = {channel.name for channel in absent}
    silent = [b.name for b in card.branches if any(card.channels[i].name in names for i in b.channels)]
    if absent and (len(silent) == len(card.branches) or len(card.inputs) != len(card.channels)):
        raise DataError(
            f"{WHERE}, line 1: no column {', '.join(channel.name for channel in absent)}; the model reads "
            f"{listed(card.inputs)}, and the columns are {', '.join(header) or 'none'}"
        )
    clock = (
        f"laid at {card.input_rate:g} Hz by the column {time!r}" if time else f"taken to come at {card.input_rate:g} Hz"
    )
    print(f"ready: samples are {clock}; an answer every {card.step / card.rate:g} s", file=sys.stderr)
    if absent:
        print(
            f"no {', '.join(channel.name for channel in absent)}: without the branch {', '.join(silent)}",
            file=sys.stderr,
        )


def value(where: str, header: Sequence[str], cells: Sequence[str], place: int) -> float:
    """A cell as a number, NaN where it is empty."""
    cell = cells[place].strip()
    if cell in MISSING_NUMBERS:
        return np.nan
    try:
        number = float(cell)
    except ValueError:
        number = np.inf
    if not abs(number) <= LARGEST:
        raise DataError(f"{where}, column {header[place]!r}: {cell[:40]!r} is not a finite number of single precision")
    return number


def in_seconds(where: str, cell: str, unit: str) -> float:
    """A time cell in seconds."""
    try:
        if unit == "datetime":
            moment = datetime.fromisoformat(cell.strip())
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        return float(cell) * SECONDS[unit]
    except ValueError as error:
        raise DataError(f"{where}: {cell[:40]!r} is not a time ({unit})") from error
