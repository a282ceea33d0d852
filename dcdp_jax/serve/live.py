"""--mode=stream: reads a table from standard input as it arrives, and prints a line for each prediction."""

import dataclasses
import itertools
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from ml_collections import ConfigDict

from dcdp_jax.data.names import clean_names
from dcdp_jax.data.table_cells import SECONDS, TIME, in_seconds
from dcdp_jax.data.table_fields import check_fields, keeps_rows
from dcdp_jax.data.table_files import Lines
from dcdp_jax.data.tables import check_intervals, count_rows
from dcdp_jax.errors import DataError
from dcdp_jax.runs.model_card import ModelCard
from dcdp_jax.serve.channels import computable, with_units
from dcdp_jax.serve.events import Event
from dcdp_jax.serve.inputs import assumed_rate, rate_notes, reading_fields
from dcdp_jax.serve.model import TrainedModel, load_serving_model
from dcdp_jax.serve.stream import Recognizer

WHERE = "standard input"
CHUNK = 2**16  # largest number of bytes that are read at a time
ENOUGH = 100  # intervals between the values of a channel from which the unit of time is judged


def stream(config: ConfigDict, workdir: Path, smoothing: tuple[str, int]) -> None:
    """Reads a table from standard input and prints each prediction, as soon as it is due, as a line of JSON.

    Raises:
      UserError: the run is not finished, or the input is not what the model reads.
    """
    model = load_serving_model(config, workdir)
    try:
        for answer in answers(model, read_blocks(sys.stdin.buffer), config.data.table, smoothing):
            print(json.dumps(answer), flush=True)
    except KeyboardInterrupt:  # the usual end of an endless stream
        return
    except BrokenPipeError:  # the reader of the output has ended; Python's last flush must not fail as well
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def read_blocks(file: IO[bytes]) -> Iterator[list[bytes]]:
    """Yields the lines of a file as they arrive, as many at a time as have arrived."""
    rest = b""
    read = getattr(file, "read1", file.read)
    while chunk := read(CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        if lines:
            yield [line + b"\n" for line in lines]
    if rest:
        yield [rest]


def answers(
    model: TrainedModel, blocks: Iterable[Sequence[bytes]], table: ConfigDict, smoothing: tuple[str, int] = ("", 1)
) -> Iterator[dict[str, Any]]:
    """Reads lines as `predict` reads a file, and yields each prediction as soon as no later line can change it.

    The blocks are the lines of a table in portions of any size. A channel of the model without a column is a missing
    sensor. For the smoothing see `Smoother`.

    Raises:
      ConfigError: a field of `table` cannot be used.
      DataError: the first lines cannot be read, no branch has all of its channels, time stamps repeat, or
        `table.bad_lines` lines in a row cannot be read. A single bad line is reported on standard error and skipped.
    """
    check_fields(table, any_channels=False)
    reader = Reader(model, table, smoothing)
    for name, event in reader.read(blocks):
        yield event.as_json(model.card) | ({"recording": name} if name else {})


@dataclasses.dataclass
class LiveRecording:
    """One recording of a stream."""

    recognizer: Recognizer  # predicts its windows
    first: np.generic | None = None  # its first time stamp; None before the first row
    last: float = -np.inf  # seconds from its first to its last row
    line: int = 0  # line of its last row
    # for each channel the seconds of its first values, without those that repeat; empty once they were judged
    stamps: list[list[float]] = dataclasses.field(default_factory=list)


class Reader:
    """Reads the lines of one table into a `Recognizer` for each of its recordings."""

    def __init__(self, model: TrainedModel, table: ConfigDict, smoothing: tuple[str, int]) -> None:
        """Starts before the first line; see `answers`."""
        self.model, self.card, self.smoothing = model, model.card, smoothing
        self.table = table
        self.lines = Lines(WHERE, table)
        self.recordings: defaultdict[str, LiveRecording] = defaultdict(self._new_recording)  # {name: recording}
        self._bad = 0  # number of bad lines in a row
        self._all_bad = 0  # number of all bad lines

    def read(self, blocks: Iterable[Sequence[bytes]]) -> Iterator[tuple[str, Event]]:
        """Yields the events of all lines, each with the name of its recording; see `answers`."""
        source = iter(blocks)
        pending: list[bytes] = []

        def one_by_one() -> Iterator[bytes]:
            for block in source:
                pending.extend(block)
                while pending:
                    yield pending.pop(0)

        self._begin(one_by_one())
        for block in itertools.chain([pending] if pending else [], source):
            yield from self._take(block)
        for name, recording in self.recordings.items():
            self._check_intervals(recording)
            for event in recording.recognizer.finish():
                yield name, event
        if self._all_bad:
            print(f"{self._all_bad} lines were left out", file=sys.stderr)

    def _begin(self, lines: Iterator[bytes]) -> None:
        header = self.lines.read_head(lines)
        where = f"{WHERE}, line {self.lines.number}"
        self.table, columns = reading_fields(where, header, self.card, self.table)
        check_channels_there(where, self.card, columns, header)
        self.columns = [columns.get(channel.name) for channel in self.card.inputs]
        self.names = [self.table[field] for field in ("subject", "recording") if self.table[field]]
        self.lines.choose([c for c in self.columns if c is not None], self.names, self.table.time)
        if not self.names:
            self.recordings[""] = self._new_recording()
        introduce(self.card, columns, self.table)
        for doubt, line in self.lines.doubts.items():
            print(f"{doubt}: {line}", file=sys.stderr)
        if rejection := self.model.rejection:
            rule = f"unknown below a confidence of {rejection.threshold:.3f}"
            if self.model.density is not None:
                rule = f"unknown beyond a distance of {rejection.distance:.4g} from the training windows"
            print(rule, file=sys.stderr)

    def _new_recording(self) -> LiveRecording:
        table = self.table
        recognizer = Recognizer(
            self.model,
            smoothing=self.smoothing,
            max_gap=table.max_gap,
            method=table.resample,
            missing=table.missing,
            repeated=table.repeated,
            keep_rows=keeps_rows(table),
            absent=tuple(place for place, column in enumerate(self.columns) if column is None),
        )
        return LiveRecording(recognizer, stamps=[[] for _ in self.columns])

    def _take(self, lines: Sequence[bytes]) -> Iterator[tuple[str, Event]]:
        """Parses lines at once, or if one of them is bad, one after the other."""
        try:
            frame = self.lines.parse(lines)
        except DataError as error:
            if len(lines) > 1:
                for line in lines:
                    yield from self._take([line])
            else:
                self.lines.skip()
                self._report(str(error))
            return
        if not self.names:
            yield from self._push("", frame)
            return
        columns = [clean_names(frame[column]).tolist() for column in self.names]
        keys = ["" if "" in names else "-".join(names) for names in zip(*columns, strict=True)]
        bounds = [0, *(i for i in range(1, len(keys)) if keys[i] != keys[i - 1]), len(keys)]
        for a, b in itertools.pairwise(bounds):
            if a < b and keys[a]:
                yield from self._push(keys[a], frame.iloc[a:b])
            for line in frame.index[a:b] if a < b and not keys[a] else ():
                self._report(f"{WHERE}, line {line}: no name in the column {' or '.join(map(repr, self.names))}")

    def _push(self, name: str, frame: pd.DataFrame) -> Iterator[tuple[str, Event]]:
        """Pushes rows of one recording. If a row has a fault, they are pushed one by one and it is skipped."""
        if not len(frame):
            return
        recording = self.recordings[name]
        nothing = np.full(len(frame), np.nan)
        columns = [nothing if column is None else frame[column].to_numpy() for column in self.columns]
        values = np.stack(columns, axis=1).astype(np.float32)
        time = self._times(recording, frame)
        lacking = np.isnan(values) & np.array([c is not None and self.table.missing == "error" for c in self.columns])
        if lacking.any() or (np.diff(time, prepend=recording.last) < 0).any():
            if len(frame) > 1:
                for row in range(len(frame)):
                    yield from self._push(name, frame.iloc[row : row + 1])
                return
            where = f"{WHERE}, line {frame.index[0]}, column"
            if lacking.any():
                self._report(f"{where} {self.columns[int(np.argmax(lacking[0]))]!r}: no value")
            else:
                self._report(f"{where} {self.table.time!r}: time goes back by {recording.last - time[0]:g} s")
            return
        self._bad = 0
        self._note_times(recording, time, values)
        recording.line, recording.last = int(frame.index[-1]), float(time[-1])
        try:
            for event in recording.recognizer.push(values, time):
                yield name, event
        except DataError as error:
            raise DataError(f"{WHERE}, lines {frame.index[0]} to {frame.index[-1]}: {error}") from error

    def _times(self, recording: LiveRecording, frame: pd.DataFrame) -> np.ndarray:
        """Returns the seconds of rows since the first of their recording."""
        if TIME not in frame:
            lines, done = frame.index.to_numpy(), 0
            if recording.line:
                done = round(recording.last * self.table.rate) + 1
            return (done + count_rows(lines, recording.line or int(lines[0]) - 1, self.table)) / self.table.rate
        stamps = frame[TIME].to_numpy()
        recording.first = stamps[0] if recording.first is None else recording.first
        return in_seconds(stamps, recording.first, self.table.time_unit)

    def _note_times(self, recording: LiveRecording, time: np.ndarray, values: np.ndarray) -> None:
        """Collects the first times of each channel, and checks their intervals once there are enough."""
        if not recording.stamps or keeps_rows(self.table):
            return
        for stamps, there in zip(recording.stamps, np.isfinite(values).T, strict=True):
            came = time[there]
            stamps += came[np.diff(came, prepend=stamps[-1] if stamps else -np.inf) > 0].tolist()
        if max(map(len, recording.stamps)) > ENOUGH:
            self._check_intervals(recording)

    def _check_intervals(self, recording: LiveRecording) -> None:
        """Prints notes on bursts, and on a rate that is not the model's; raises DataError if the unit is wrong."""
        passed = np.diff(max(recording.stamps, key=len, default=[]))
        recording.stamps = []
        if len(passed) and self.table.repeated != "spread":
            interval, _, doubts = check_intervals(passed, self.table)
            for note in [*doubts, *rate_notes(interval, self.card, self.table)]:
                print(note, file=sys.stderr)

    def _report(self, message: str) -> None:
        """Reports a line that was skipped; raises DataError after too many in a row."""
        self._bad += 1
        self._all_bad += 1
        print(f"left out: {message}", file=sys.stderr)
        if self._bad >= self.table.bad_lines:
            raise DataError(f"{message}; this was bad line number {self._bad} in a row (data.table.bad_lines)")


def check_channels_there(where: str, card: ModelCard, columns: dict[str, str], header: Sequence[str]) -> None:
    """Raises DataError for a missing channel if no branch has all of its channels, or a view needs it."""
    absent = [channel for channel in card.inputs if channel.name not in columns]
    if absent and (len(silent_branches(card, columns)) == len(card.branches) or len(card.inputs) != len(card.channels)):
        raise DataError(
            f"{where}: no column {', '.join(channel.name for channel in absent)}; the model reads "
            f"{with_units(card.inputs)}, and the columns are {', '.join(header) or 'none'}"
            f"{computable([channel.name for channel in absent], list(columns))}"
        )


def silent_branches(card: ModelCard, columns: dict[str, str]) -> list[str]:
    """Returns the names of the branches that lack a channel."""
    absent = {channel.name for channel in card.inputs if channel.name not in columns}
    return [b.name for b in card.branches if any(card.channels[i].name in absent for i in b.channels)]


def introduce(card: ModelCard, columns: dict[str, str], table: ConfigDict) -> None:
    """Prints on standard error how the table is read, and which channels are missing."""
    if table.time:
        unit = f" in {table.time_unit}" if table.time_unit in SECONDS else ""
        how = f"samples are resampled to {card.input_rate:g} Hz by the column {table.time!r}{unit}"
    elif table.preamble:
        how = f"samples are resampled to {card.input_rate:g} Hz by the rate before the first row"
    else:
        how = assumed_rate(card)
    print(f"ready: {how}; an answer every {card.step / card.rate:g} s", file=sys.stderr)
    if absent := [channel.name for channel in card.inputs if channel.name not in columns]:
        print(
            f"no {', '.join(absent)}: without the branch {', '.join(silent_branches(card, columns))}"
            f"{computable(absent, list(columns))}",
            file=sys.stderr,
        )
