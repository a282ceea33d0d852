"""Divides recordings, and then their windows, into the splits of a protocol."""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.data.pool import Interval, Pool
from dcdp_jax.data.protocols import TEST_SHARE, VALIDATION_SHARE, Choice, Protocol, listed
from dcdp_jax.data.recording import UNLABELLED, Recording, Recordings
from dcdp_jax.data.spec import DatasetSpec
from dcdp_jax.data.windows import WindowIndex, cut_at_label_changes, index_windows
from dcdp_jax.errors import ConfigError, DataError


def divide(config: ConfigDict, spec: DatasetSpec, recordings: Recordings, choice: Choice, classes: int) -> Protocol:
    """Divides recordings by the protocol of a config and the fields that change its splits.

    Args:
      config: the `data` part of a config.
      spec: of the data set.
      recordings: with labels of the task.
      choice: within the protocol.
      classes: number of classes that a model learns; labels from there on are not among them.

    Raises:
      ConfigError: a field cannot be used.
      DataError: a split would be empty.
    """
    try:
        protocol = spec.divide(config.protocol, recordings, choice)
    except DataError as error:
        if not recordings.missing:
            raise
        raise DataError(f"{error}; the data is incomplete: {'; '.join(recordings.missing)}") from error
    if config.validation == "none":
        protocol = train_on_validation(protocol)
    if config.heldout:
        protocol = hold_out(protocol, recordings, config.heldout)
    if config.calibration:
        protocol = set_aside_calibration(protocol, recordings, config.calibration, classes)
    return protocol


def train_on_validation(protocol: Protocol) -> Protocol:
    """Returns a protocol in which the validation set trains as well, so that there is none."""
    train = protocol.intervals["train"]
    if not protocol.leaky:
        train = joined([*train, *protocol.intervals["validation"]])
    note = "data.validation='none': the validation set of the protocol trains"
    intervals = {"train": train, "test": protocol.intervals["test"]}
    return protocol._replace(intervals=intervals, notes=(*protocol.notes, note))


def joined(intervals: Iterable[Interval]) -> list[Interval]:
    """Sorts intervals, and merges those of which one begins at the end of the other."""
    found: list[Interval] = []
    for part in sorted(intervals):
        if found and found[-1][::2] == part[:2]:
            found[-1] = found[-1]._replace(stop=part.stop)
        else:
            found.append(part)
    return found


def hold_out(protocol: Protocol, recordings: Recordings, names: Collection[str | int]) -> Protocol:
    """Moves the training subjects of these names or numbers into a split of their own, `heldout`.

    Raises:
      ConfigError: the protocol does not divide by subject, a name is that of no training subject, or no training
        subject is left.
    """
    if not protocol.by_subject:
        raise ConfigError(f"data.heldout={tuple(names)}: protocol {protocol.name} does not divide by subject")
    train = protocol.intervals["train"]
    subjects = dict.fromkeys(recordings[part.recording].subject for part in train)
    called = dict(zip(subjects, recordings.names_of(subjects), strict=True))
    chosen = {str(name) for name in names}
    if unknown := [name for name in names if str(name) not in called.values()]:
        raise ConfigError(
            f"data.heldout: {unknown[0]!r} is no training subject; these are {listed(list(called.values()))}"
        )
    held = [part for part in train if called[recordings[part.recording].subject] in chosen]
    left = [part for part in train if called[recordings[part.recording].subject] not in chosen]
    if not left:
        raise ConfigError(f"data.heldout={tuple(names)} leaves no training subject")
    note = f"data.heldout: subjects {listed(sorted(chosen))} neither train nor validate"
    intervals = {"train": left, **{k: v for k, v in protocol.intervals.items() if k != "train"}, "heldout": held}
    return protocol._replace(intervals=intervals, notes=(*protocol.notes, note))


def set_aside_calibration(
    protocol: Protocol, recordings: Sequence[Recording], seconds: float, classes: int
) -> Protocol:
    """Divides the test set: the first seconds of each class of each test subject are the split `calibration`.

    A model may be adapted to a subject with this split, and tested on the rest of the subject's samples. The two splits
    share subjects, but no sample. The first seconds are counted over a subject's recordings in order. Samples with a
    label that is none of the k classes stay in the test set.

    Raises:
      ConfigError: the protocol is leaky.
    """
    if protocol.leaky:
        raise ConfigError(
            f"data.calibration={seconds:g}: the windows of protocol {protocol.name} are random ones, and have no first "
            "seconds; choose another protocol"
        )
    left: dict[tuple[int, int], int] = {}
    parts: dict[str, list[Interval]] = {"calibration": [], "test": []}
    for i, start, stop in sorted(protocol.intervals["test"]):
        recording = recordings[i]
        changes = np.flatnonzero(np.diff(recording.labels[start:stop])) + 1 + start
        bounds = [start, *changes.tolist(), stop]
        for a, b in itertools.pairwise(bounds):
            label = int(recording.labels[a])
            key = (recording.subject, label)
            needed = left.setdefault(key, round(seconds * recording.rate)) if 0 <= label < classes else 0
            taken = min(needed, b - a)
            left[key] = needed - taken
            if taken:
                parts["calibration"].append(Interval(i, a, a + taken))
            if taken < b - a:
                parts["test"].append(Interval(i, a + taken, b))
    parts = {split: joined(intervals) for split, intervals in parts.items()}
    note = f"data.calibration={seconds:g}: the first {seconds:g} s of each class of each test subject test nothing"
    return protocol._replace(intervals={**protocol.intervals, **parts}, notes=(*protocol.notes, note))


def arrange(protocol: Protocol) -> tuple[list[int], Protocol]:
    """Puts the recordings of each split next to each other, and leaves out those in none.

    Returns the old indices in the new order, and the protocol with new indices.
    """
    order = list(dict.fromkeys(part.recording for parts in protocol.intervals.values() for part in parts))
    new = {old: i for i, old in enumerate(order)}
    intervals = {
        split: [part._replace(recording=new[part.recording]) for part in parts]
        for split, parts in protocol.intervals.items()
    }
    return order, protocol._replace(intervals=intervals)


def split_windows(config: ConfigDict, pool: Pool, protocol: Protocol) -> dict[str, WindowIndex]:
    """Returns the windows of every split; those of a leaky protocol are drawn from all windows."""
    if protocol.leaky:
        stretches = pool.stretches(protocol.intervals["train"])
        every = index_windows(pool.labels, stretches, config.window, config.step, config.label_rule)
        order = np.random.default_rng(config.fold).permutation(len(every.start))
        test = round(len(order) * TEST_SHARE)
        cuts = [test, test + round(len(order) * VALIDATION_SHARE)]
        drawn = dict(zip(("test", "validation", "train"), np.split(order, cuts), strict=True))
        if "validation" not in protocol.intervals:
            drawn["train"] = order[test:]
        return {split: every.select(np.sort(drawn[split])) for split in protocol.intervals}
    join = config.join_recordings
    return {
        split: index_windows(pool.labels, pool.stretches(parts, join), config.window, config.step, config.label_rule)
        for split, parts in protocol.intervals.items()
    }


def separate_class(
    config: ConfigDict, pool: Pool, windows: Mapping[str, WindowIndex], label: int
) -> tuple[dict[str, WindowIndex], WindowIndex]:
    """Separates the windows of `data.left_out_class`, whose samples have a label.

    Returns the windows of each split without a sample of the class, and the windows of the test set that have its
    label. Raises ConfigError if there are none of the latter.
    """
    samples = np.concatenate([[0], np.cumsum(pool.labels == label)])
    kept = {}
    for split, index in windows.items():
        clear = (samples[index.start + config.window] == samples[index.start]) & (index.label != label)
        kept[split] = index.select(clear)
    unknown = windows["test"].select(windows["test"].label == label)
    if not len(unknown.start):
        raise ConfigError(f"data.left_out_class={config.left_out_class!r}: no window of the test set has this class")
    return kept, unknown


def start_bounds(config: ConfigDict, pool: Pool, protocol: Protocol, starts: np.ndarray) -> np.ndarray:
    """Returns the first and the last sample (n, 2) at which each training window, from one of the starts, may begin.

    They lie half of `data.step` before and after the window's begin, or nearer, so that the window stays within the
    contiguous samples of its label in the training set of one recording.

    Raises:
      ConfigError: the protocol draws test windows among those that overlap with training windows.
    """
    if protocol.leaky:
        raise ConfigError(
            "data.train_starts='random' would move training windows onto tested samples with "
            f"data.protocol={protocol.name}; set --config.data.train_starts=fixed"
        )
    stretches = pool.stretches(protocol.intervals["train"], config.join_recordings)
    runs = cut_at_label_changes(pool.labels, stretches)
    first, end = runs[np.searchsorted(runs[:, 0], starts, side="right") - 1].T
    half = config.step // 2
    bounds = [np.maximum(starts - half, first), np.minimum(starts + half, end - config.window)]
    return np.stack(bounds, axis=1).astype(np.int32)


def empty_part(config: ConfigDict, pool: Pool, protocol: Protocol, split: str) -> str:
    """Returns the message for a split without a window."""
    stretches = pool.stretches(protocol.intervals[split], config.join_recordings)
    runs = cut_at_label_changes(pool.labels, stretches)
    runs = runs[pool.labels[runs[:, 0]] != UNLABELLED]
    longest = int(np.diff(stretches).max(initial=0))
    longest_run = int(np.diff(runs).max(initial=0))
    return (
        f"data.window={config.window}: no window fits into the {split} set of protocol {protocol.name}: its longest "
        f"contiguous stretch has {longest} samples, its longest stretch of one class {longest_run}; choose a shorter "
        f"window, other classes or another protocol"
    )
