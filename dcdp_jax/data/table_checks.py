"""Checks the user's tables: the first rows of a file, and all recordings against each other once they are resampled."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dcdp_jax.data.names import clean_names
from dcdp_jax.data.recording import Channel
from dcdp_jax.data.resample import Even
from dcdp_jax.data.units import GRAVITY, KNOWN, OTHER, doubts, sensors_of, unit_name, units_seen
from dcdp_jax.errors import DataError

MOST_SHOWN = 30  # names in a note
FEWEST = 16  # smallest number of samples in which a copy or a constant channel is reported
MOST_LOST = 0.05  # share of the time of a recording from which lost rows are reported
HELD = 10.0  # seconds from which exactly the same values of a sensor are reported
MOST_HELD = 1.2  # ratio of the time between two new values to that between two samples
LARGE = 0.9  # quantile of the changes of a sensor from which they are those of a movement
FAR_SPREAD = 20  # ratio of a channel's standard deviation to its median over the recordings
HEAD = 1024  # rows that are checked; enough for sensors that do not start together
MOST_SENSORS = 32
OFTEN = 0.1  # smallest share of the rows of one recording whose sensor differs from that of the row before
SWITCHES = {"true", "false", "yes", "no", "on", "off"}  # values of flags, which change often too


class Sampled(NamedTuple):
    """A resampled recording whose labels and subject do not have numbers yet, with the facts that notes state."""

    path: Path  # of its file
    subject: str  # its name
    run: str  # its name
    even: Even  # its samples
    labels: np.ndarray  # (t,) a name for each sample, '' where there is none
    unread: tuple[str, ...]  # columns of its file that no field names
    doubts: Mapping[str, str]  # {what may be wrong with its file: where}
    rows: int  # number of its rows
    missing: np.ndarray  # (c,) rows that lack each channel
    interval: float  # usual seconds between two rows, see `tables.check_intervals`
    lost: float  # share of its time in which rows are lost, but not so many that it is a gap
    renewed: Mapping[tuple[str, str, str], float]  # {sensor: seconds between new values if rows repeat them, or 0}
    repeated: int  # rows that have the time of the row before
    lacking: np.ndarray  # (c + 1,) samples that lack each channel, and any of them


def unique_runs(sampled: Sequence[Sampled], raw: Path) -> list[str]:
    """Returns a name for each recording: its own, with its subject and its file where others have the same."""
    names = [part.run for part in sampled]
    longer = [f"{part.subject}/{part.run}" for part in sampled]
    longest = [f"{name} in {part.path.relative_to(raw).as_posix()}" for name, part in zip(longer, sampled, strict=True)]
    for other in (longer, longest):
        counts = Counter(names)
        names = [name if counts[name] == 1 else more for name, more in zip(names, other, strict=True)]
    return names


def check_copies(sampled: Sequence[Sampled]) -> list[str]:
    """Returns a note for each recording that has the samples of another one of the same person.

    Only recordings of `FEWEST` samples or more, of which more than half are distinct, are compared.

    Raises:
      DataError: they are recordings of two people.
    """
    first: dict[bytes, Sampled] = {}
    notes = []
    for part in sampled:
        values = part.even.values
        other = first.setdefault(hashlib.sha256(values.tobytes()).digest(), part)
        if other is part or len(values) < FEWEST or 2 * len(np.unique(values, axis=0)) <= len(values):
            continue
        (run, subject, path), (copied, owner, source) = ((p.run, p.subject, p.path) for p in (part, other))
        same = f"recording {run!r} of {subject!r} has the same {len(values):,} samples as {copied!r} of {owner!r}"
        if subject != owner:
            raise DataError(f"{path}: {same} in {source}; remove one of them, or give both the same subject")
        notes.append(f"{path.name}: {same} in {source.name}")
    return notes


def check_units(sampled: Sequence[Sampled], channels: Sequence[Channel], rate: float) -> list[str]:
    """Returns a note for each sensor that seems to have another unit than the stated one.

    Raises:
      DataError: a sensor seems to have different units in different recordings, or gravity in some of them only.
    """
    found: dict[tuple[str, str, str], dict[str, list[Sampled]]] = {}  # the recordings of each unit that was seen
    for part in sampled:
        for sensor, unit in units_seen(channels, part.even.values, rate).items():
            found.setdefault(sensor, {}).setdefault(unit, []).append(part)
    notes = []
    for (group, site, stated), parts in found.items():
        if len(told := [unit for unit in parts if unit != OTHER]) > 1:
            (one, *_), (another, *_) = (parts[unit] for unit in told[:2])
            size, other = (f"as large as gravity in {unit}" if unit else "without gravity" for unit in told[:2])
            raise DataError(
                f"{one.path}: the acceleration of {group} at {site} is {size} in recording {one.run!r}, and {other} in "
                f"{another.run!r} of {another.path}; all must be in {stated}, with gravity or without"
            )
        for unit, some in parts.items():
            where = f" ({len(some)} of {len(sampled)} recordings: {first_names([repr(part.run) for part in some])})"
            notes += [doubt + where * (len(some) < len(sampled)) for doubt in doubts({(group, site, stated): unit})]
    return notes


def lost_rows(sampled: Sequence[Sampled], max_gap: float) -> list[str]:
    """Returns a note on recordings in which many rows are lost, as by a weak radio link, if there are any."""
    parts = sorted((part for part in sampled if part.lost > MOST_LOST), key=lambda part: -part.lost)
    if not parts:
        return []
    return [
        f"rows are lost for more than {MOST_LOST:.0%} of the time, and their values are filled in, because they are no "
        f"more than data.table.max_gap={max_gap:g} s apart, in {len(parts)} of {len(sampled)} recordings: "
        + first_names([f"{part.run!r} ({part.lost:.0%})" for part in parts])
    ]


def renewed_every(time: np.ndarray, values: np.ndarray) -> float:
    """Returns the seconds between two new values of a sensor whose rows repeat each; 0 if they do not.

    A device at rest may measure the same values again, so only the largest changes count: in a movement every
    measurement differs from the one before.

    Args:
      time: (n,) seconds, rising.
      values: (n, c), NaN where missing.
    """
    there = np.isfinite(values).all(axis=1)
    size = np.abs(np.diff(values[there], axis=0)).sum(axis=1)
    new = np.flatnonzero(size)
    if len(new) < FEWEST:
        return 0.0
    large = np.flatnonzero(size[new[1:]] >= np.quantile(size[new[1:]], LARGE))
    rows = np.median((new[1:] - new[:-1])[large])
    return float(np.median(np.diff(time[there][1:][new])[large])) if rows > 1 else 0.0


def held_values(sampled: Sequence[Sampled], channels: Sequence[Channel], rate: float) -> list[str]:
    """Returns notes on sensors that have fewer new values than samples, or the same values for a long time."""
    notes = []
    for (group, site, unit), places in sensors_of(channels).items():
        if unit_name(unit) not in KNOWN:
            continue
        renewed = [(part, part.renewed[group, site, unit]) for part in sampled]
        if slow := [(part, seconds) for part, seconds in renewed if seconds * rate > MOST_HELD]:
            often = [1 / max(seconds for _, seconds in slow), 1 / min(seconds for _, seconds in slow)]
            notes.append(
                f"rows repeat the values of {group} at {site}, which has only "
                f"{' to '.join(dict.fromkeys(f'{value:.3g}' for value in often))} new ones a second, as where an app "
                f"writes faster than the sensor measures, in {len(slow)} of {len(sampled)} recordings: "
                + first_names([repr(part.run) for part, _ in slow])
            )
        holds = [(part, longest_hold(part.even, places)) for part in sampled]
        if held := [(part, n) for part, n in holds if n >= HELD * rate and n < len(part.even.values)]:
            notes.append(
                f"{group} at {site} has exactly the same values for {HELD:g} s or longer, as where a sensor stops, in "
                f"{len(held)} of {len(sampled)} recordings: "
                + first_names([f"{part.run!r} (up to {n / rate:.0f} s)" for part, n in held])
            )
    return notes


def longest_hold(even: Even, places: Sequence[int]) -> int:
    """Returns the largest number of contiguous samples in which all channels at some places keep their values."""
    same = ~np.any(np.diff(even.values[:, places], axis=0), axis=1)
    same[even.starts[1:] - 1] = False
    ends = np.flatnonzero(~np.append(same, False))
    return int(np.diff(ends, prepend=-1).max(initial=0))


def odd_channels(sampled: Sequence[Sampled], channels: Sequence[Channel]) -> list[str]:
    """Returns notes on accelerations of 0, and on channels that are the same, constant or spread farther than usual."""
    long = [part for part in sampled if len(part.even.values) >= FEWEST]

    def measure(function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        return np.array([function(part.even.values) for part in long]).reshape(-1, len(channels))

    spreads = measure(lambda x: x.std(axis=0, dtype=np.float64))
    usual = np.median(spreads, axis=0) if long else np.zeros(len(channels))
    constant = measure(lambda x: np.ptp(x, axis=0)) == 0
    odd = {
        "is constant": constant,
        "is constant over the last fifth": ~constant
        & (measure(lambda x: np.ptp(x[-max(len(x) // 5, FEWEST) :], axis=0)) == 0),
        f"spreads more than {FAR_SPREAD} times as far as in most recordings": (usual > 0)
        & (spreads > FAR_SPREAD * usual),
    }
    notes = []
    for group, site in dict.fromkeys((c.group, c.site) for c in channels if unit_name(c.unit) in GRAVITY):
        axes = [place for place, c in enumerate(channels) if (c.group, c.site) == (group, site)]
        zero = sum(np.count_nonzero(~part.even.values[:, axes].any(axis=1)) for part in sampled)
        if len(axes) >= 3 and zero >= FEWEST:
            notes.append(f"{group} at {site} is 0 on all axes in {zero:,} samples, as where 0 stands for no value")
    copies: dict[tuple[str, str], list[str]] = {}  # {two channels: the recordings in which they are the same}
    for part, flat in zip(long, constant, strict=True):
        first: dict[bytes, str] = {}
        for values, at in zip(part.even.values.T[~flat], np.flatnonzero(~flat).tolist(), strict=True):
            name = channels[at].name
            other = first.setdefault(hashlib.sha256(values.tobytes()).digest(), name)
            if other != name:
                copies.setdefault((other, name), []).append(repr(part.run))
    for (one, other), names in copies.items():
        notes.append(
            f"{one} and {other} have the same values in {len(names)} of {len(sampled)} recordings: {first_names(names)}"
        )
    for place, channel in enumerate(channels):
        for what, found in odd.items():
            if names := [repr(part.run) for part, there in zip(long, found[:, place], strict=True) if there]:
                notes.append(
                    f"{channel.name} {what} in {len(names)} of {len(sampled)} recordings: {first_names(names)}"
                )
    return notes


def first_names(names: Sequence[str]) -> str:
    """Returns the first names in one line, followed by the number of the others."""
    more = [f"... and {len(names) - MOST_SHOWN} more"] if len(names) > MOST_SHOWN else []
    return ", ".join([*names[:MOST_SHOWN], *more])


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
