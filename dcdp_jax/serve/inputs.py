"""Reads a user's file as a model's input: a table, or a file of the data set that the model was trained on."""

import dataclasses
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.data.beside import annotations_of, files_beside
from dcdp_jax.data.datasets import find_dataset
from dcdp_jax.data.names import spelling
from dcdp_jax.data.recording import UNLABELLED, Recording
from dcdp_jax.data.resample import resample
from dcdp_jax.data.table_checks import FEWEST, held_values, lost_rows
from dcdp_jax.data.table_fields import check_fields, keeps_rows
from dcdp_jax.data.table_files import SUFFIXES, is_table, read_header
from dcdp_jax.data.tables import SAME_RATE, match_path, number_subjects, read_rows, sample_rows
from dcdp_jax.data.units import doubts, unit_name, units_seen
from dcdp_jax.data.views import COMPUTED_VIEWS, decimate, kept_samples, relabel, view_recording
from dcdp_jax.errors import DataError
from dcdp_jax.runs.model_card import ModelCard
from dcdp_jax.serve.channels import check_channels, computable, find_columns, with_units


class Input(NamedTuple):
    """A recording that a model can read."""

    name: str  # made of its subject and run; unique in its file
    recording: Recording  # channels and rate are the card's, labels are indices into its classes or `UNLABELLED`
    time: np.ndarray  # (t,) seconds of each sample; in a table, since the recording's first row
    notes: tuple[str, ...]  # what reading changed or doubts, one sentence each
    person: str = ""  # name of the person, if the file or its path has one


def read_input(path: Path, card: ModelCard, data: ConfigDict) -> list[Input]:
    """Reads the recordings in a table (CSV or Parquet, see docs/your_own_data.md) or a file of the model's data set.

    The `data` part of a config names the columns of a table in `data.table`, except those of the channels.

    Raises:
      DataError: the file is neither, is damaged, or does not fit what the model reads; the message names what was
        found and what was expected.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    spec = find_dataset(card.dataset)
    if spec.read_one and (recordings := spec.read_one(path)) is not None:
        task = spec.task(card.protocol, chosen=card.class_names)
        prepared = [prepare(str(path), relabel(recording, task), card) for recording in recordings]
        return [item._replace(person=str(item.recording.subject)) for item in prepared]
    if is_table(path):
        return read_table(path, card, data.table)
    known = f", or a file of {card.dataset} as {spec.example}" if spec.example else ""
    raise DataError(f"{path}: expected a table ({', '.join(SUFFIXES)}){known}")


def read_table(path: Path, card: ModelCard, table: ConfigDict) -> list[Input]:
    """Reads a table; it may lack the columns of labels, subjects and recordings."""
    check_fields(table, any_channels=False)
    header = read_header(path, table)
    for other, prefix in files_beside(path, table, None):
        header += [prefix + name for name in read_header(other, table)]
    table, columns = reading_fields(str(path), header, card, table)
    if absent := [channel.name for channel in card.inputs if channel.name not in columns]:
        raise DataError(
            f"{path}: no column {', '.join(absent)}; the model reads {with_units(card.inputs)}, and the columns are "
            f"{', '.join(header)}{computable(absent, list(columns))}"
        )
    table.channels = tuple((columns[c.name], c.group, c.site, c.unit) for c in card.inputs)
    if table.annotations and not annotations_of(path, table).is_file():
        table.annotations = ""  # a recording to predict needs no labels
    inputs = []
    by_name = bool(table.subject) or "subject" in match_path(path, table, None)
    codes = {name: code for code, name in enumerate(card.class_names)}
    for rows in read_rows(path, table, [columns[c.name] for c in card.inputs]):
        sampled = sample_rows(path, rows, table, partial=True)
        recording = Recording(
            signals=sampled.even.values,
            labels=np.array([codes.get(label, UNLABELLED) for label in sampled.labels], np.int32),
            subject=number_subjects([rows.subject])[rows.subject],
            run=rows.run if rows.run == rows.subject else f"{rows.subject}-{rows.run}",
            rate=card.input_rate,
            channels=card.inputs,
            starts=sampled.even.starts,
        )
        notes = [f"{doubt}: {where}" for doubt, where in sampled.doubts.items()]
        notes += rate_notes(sampled.interval, card, table)
        notes += [*lost_rows([sampled], table.max_gap), *held_values([sampled], card.inputs, card.input_rate)]
        if sampled.repeated:
            notes.append(
                f"{sampled.repeated:,} of {len(rows.time):,} rows have the time of the row before "
                f"(data.table.repeated={table.repeated!r})"
            )
        if unknown := sorted(set(sampled.labels.tolist()) - set(codes) - {""}):
            notes.append(f"labels that the model does not know: {', '.join(unknown)}")
        made = prepare(str(path), recording, card, sampled.even.time)
        person = rows.subject if by_name else ""
        inputs.append(made._replace(name=recording.run, notes=(*notes, *made.notes), person=person))
    return inputs


def rate_notes(interval: float, card: ModelCard, table: ConfigDict) -> list[str]:
    """Returns a sentence if the rate of rows, a usual interval in seconds, is another than the model's or unknown."""
    if keeps_rows(table):
        return [assumed_rate(card)]
    if abs(interval * card.input_rate - 1) <= SAME_RATE:
        return []
    return [
        f"rows come at {1 / interval:.4g} Hz, and the model was trained on {card.input_rate:.4g} Hz: "
        f"resampled by {table.resample}"
    ]


def assumed_rate(card: ModelCard) -> str:
    """Returns the note on a table without a time."""
    return f"rows are taken to come at {card.input_rate:g} Hz, because data.table.time is empty"


def reading_fields(
    where: str, header: Sequence[str], card: ModelCard, table: ConfigDict
) -> tuple[ConfigDict, dict[str, str]]:
    """Returns the fields of `data.table` that read a table for a model, and {channel: its column}.

    If `table.channels` names as many columns as the model reads, they are its channels, in the model's order. Raises
    DataError, which begins with `where`, if the column of time is missing or a channel has another unit.
    """
    table = table.copy_and_resolve_references()
    table.rate = float(card.input_rate)
    fields = {f"data.table.{field}": table[field] for field in ("label", "subject", "recording") if table[field]}
    for what, name in fields.items():
        check_spelling(where, header, name, what)
        if name not in header:
            table[what.rpartition(".")[2]] = ""
    if table.time and table.time not in header:
        raise DataError(
            f"{where}: no column {table.time!r} with the time (data.table.time), and so no rate; the columns are "
            f"{', '.join(header) or 'none'}; data.table.time='' takes the rows to come at {card.input_rate:g} Hz"
        )
    columns = find_columns(where, header, card.inputs)
    if len(table.channels) == len(card.inputs):
        places = {channel.name: (channel.group, channel.site) for channel in card.inputs}
        for (column, *place, unit), channel in zip(table.channels, card.inputs, strict=True):
            if channel.name not in columns and column in header and column not in places:
                if tuple(place) in {*places.values()} - {places[channel.name]}:
                    raise DataError(
                        f"{where}: {column} is of {' at '.join(place)}, and the place of {channel.name} in "
                        f"data.table.channels is of {' at '.join(places[channel.name])}; expected the model's order"
                    )
                if unit_name(unit) != unit_name(channel.unit):
                    raise DataError(f"{where}: {column} is in {unit}, and the model reads it in {channel.unit}")
                columns[channel.name] = column
    for channel in card.inputs:
        if channel.name not in columns:
            check_spelling(where, header, channel.name, "which the model reads")
    return table, columns


def check_spelling(where: str, header: Sequence[str], name: str, what: str) -> None:
    """Raises DataError if a column is missing, and another differs only in its spelling or in a unit behind it."""
    alike = [column for column in header if spelling(re.sub(r"[\[(][^\])]*[\])]\s*$", "", column)) == spelling(name)]
    if alike and name not in header:
        raise DataError(f"{where}: no column {name!r} ({what}), but {alike[0]!r}; write both in the same way")


def prepare(where: str, recording: Recording, card: ModelCard, time: np.ndarray | None = None) -> Input:
    """Converts a recording to the channels and the rate of a model; its labels are indices into the card's classes.

    The time (t,) of its samples is in seconds; by default they are 1 / rate apart. Raises DataError, which begins with
    `where`, if a channel is missing or has another unit.
    """
    chosen = check_channels(where, recording.channels, card.inputs)
    signals = recording.signals[:, chosen]
    recording = dataclasses.replace(recording, signals=signals, channels=card.inputs, tracks={})
    time = np.arange(len(signals)) / recording.rate if time is None else time
    notes = doubts(units_seen(card.inputs, signals, recording.rate))
    known = [column[np.isfinite(column)] for column in signals.T]
    if still := [c.name for c, x in zip(card.inputs, known, strict=True) if len(x) >= FEWEST and np.ptp(x) == 0]:
        notes.append(f"constant from beginning to end: {', '.join(still)}")
    if not np.isclose(recording.rate, card.input_rate, rtol=1e-6):
        notes.append(
            f"the recording has {recording.rate:.4g} Hz, and the model was trained on {card.input_rate:.4g} Hz: "
            f"resampled by linear"
        )
        recording, time = resample_recording(recording, time, card.input_rate)
    recording, there = leave_out_gaps(where, recording, card.view)
    kept = there[kept_samples(recording, card.decimate)]
    viewed = view_recording(decimate(recording, card.decimate), card.view)
    return Input(f"{recording.subject}-{recording.run}", viewed, time[kept], tuple(notes))


def resample_recording(recording: Recording, time: np.ndarray, rate: float) -> tuple[Recording, np.ndarray]:
    """Resamples each contiguous stretch of a recording; returns the recording and the time of each new sample."""
    bounds = [*recording.starts.tolist(), len(time)]
    parts = [
        resample(time[a:b], recording.signals[a:b], rate=rate, max_gap=np.inf) for a, b in itertools.pairwise(bounds)
    ]
    lengths = [len(part.time) for part in parts]
    rows = np.concatenate([a + part.rows for a, part in zip(bounds[:-1], parts, strict=True)])
    changed = dataclasses.replace(
        recording,
        signals=np.concatenate([part.values for part in parts]),
        labels=recording.labels[rows],
        rate=rate,
        starts=(np.cumsum(lengths) - lengths).astype(np.int64),
    )
    return changed, np.concatenate([part.time for part in parts])


def leave_out_gaps(where: str, recording: Recording, view: str) -> tuple[Recording, np.ndarray]:
    """Removes the samples in gaps, see `is_gap`, and divides the recording there.

    Returns the recording and the indices of the samples kept.
    """
    kept = np.flatnonzero(~is_gap(recording.signals, view))
    if len(kept) == len(recording.labels):
        return recording, kept
    if not len(kept):
        raise DataError(f"{where}: recording {recording.run!r} has no sample with a value")
    breaks = np.flatnonzero(np.diff(kept) > 1) + 1
    starts = np.union1d(np.append(0, breaks), np.searchsorted(kept, recording.starts))
    divided = dataclasses.replace(
        recording,
        signals=recording.signals[kept],
        labels=recording.labels[kept],
        starts=starts[starts < len(kept)].astype(np.int64),
    )
    return divided, kept


def is_gap(signals: np.ndarray, view: str) -> np.ndarray:
    """Returns a (t,) mask of samples without any value, or if the view computes channels, of those that lack one."""
    missing = np.isnan(signals)
    return np.any(missing, axis=1) if view in COMPUTED_VIEWS else np.all(missing, axis=1)


def folder_names(inputs: Sequence[Input]) -> list[str]:
    """Returns a different folder name for each recording of a file."""
    names: list[str] = []
    for item in inputs:
        name = "".join(c if c.isalnum() or c in "-_." else "_" for c in item.name).strip(".") or "recording"
        while name in names:
            name += "_"
        names.append(name)
    return names
