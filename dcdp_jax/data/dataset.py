"""Builds the data of a run from its config, in the order of the steps: arrays that are ready for the device."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.data.audit import audit
from dcdp_jax.data.datasets import find_dataset
from dcdp_jax.data.normalize import Normalizer, covered_samples, fit_normalizer, outlying_channel
from dcdp_jax.data.partition import partition, select_channels
from dcdp_jax.data.pool import Pool, make_pool
from dcdp_jax.data.prepared import read_dataset
from dcdp_jax.data.protocols import (
    TEST_SHARE,
    VALIDATION_SHARE,
    Protocol,
    hold_out,
    listed,
    set_aside_calibration,
    train_on_validation,
)
from dcdp_jax.data.recording import UNLABELLED, Channel, Recording, content_digest, fingerprint
from dcdp_jax.data.spec import choose_fold
from dcdp_jax.data.views import decimate, interval_cuts, keep_channels, make_view, relabel, view_recording
from dcdp_jax.data.windows import WindowIndex, cut_at_label_changes, index_windows
from dcdp_jax.errors import ConfigError, DataError
from dcdp_jax.values import check_values, fields_of

__all__ = ["Dataset", "Split", "build_dataset", "partition", "select_channels"]


@dataclasses.dataclass(frozen=True)
class Split:
    """The windows of one part."""

    starts: np.ndarray  # (n,) int32 first sample of each window in `Dataset.signals`
    labels: np.ndarray  # (n,) int32 class index
    subjects: np.ndarray  # (n,) int32 subject of each window
    # (n, 2) int32 first and last sample at which each window may begin, see `start_bounds`; None where all begin
    # at `starts`
    bounds: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Recordings end to end, the windows of each part as indices into them, and their names."""

    signals: np.ndarray  # (t, c) float32, all recordings of the protocol one after the other, not normalised
    # {train, validation, test: Split}; without validation where `data.validation` is none, with heldout where
    # `data.heldout` names subjects
    splits: Mapping[str, Split]
    window: int  # samples per window
    normalizer: Normalizer  # statistics of the training windows
    class_names: tuple[str, ...]  # k names
    channels: tuple[Channel, ...]  # the c channels
    inputs: tuple[Channel, ...]  # the channels of the recordings from which `data.view` computes `channels`
    marks: tuple[str, ...]  # any of synthetic, leaky, incomplete
    fingerprint: str  # fingerprint of the recordings as they were read, see `recording.fingerprint`
    rate: float  # samples per second
    windows: Mapping[str, int]  # {split: number of windows}
    counts: Mapping[str, Mapping[str, int]]  # {split: {class name: number of windows}}
    # {split: {subject: number of windows}}; a subject is its name, or its number as text
    subject_counts: Mapping[str, Mapping[str, int]]
    # {subject: {class name: number of samples}} of everything that was read, in a part or not; '' is the name for
    # samples of no class
    samples: Mapping[str, Mapping[str, int]]
    missing_values: Mapping[str, int]  # {channel name: number of values that the files lack}
    notes: tuple[str, ...]  # what was chosen, left out, missing and proved, one sentence each
    offsets: np.ndarray  # (r + 1,) int64 first sample of each recording in `signals`, and t
    runs: tuple[str, ...]  # r names of recordings
    # {number: name} of the subjects that have a name in the data
    subject_names: Mapping[int, str]
    labels: np.ndarray  # (t,) int32 class index of each sample, or `UNLABELLED`
    # (s, 2) int64 first sample and the one after the last of each contiguous stretch of the test part
    test_stretches: np.ndarray
    calibration: Split | None = None  # windows of the test subjects to adapt with; None without `data.calibration`
    # windows of the test part that have `data.left_out_class`, with the label k; None without such a class
    unknown: Split | None = None

    def windows_at(self, starts: np.ndarray) -> np.ndarray:
        """Returns the windows (n, window, c) that begin at samples (n,), not normalised."""
        return self.signals[starts[:, None] + np.arange(self.window)]


def build_dataset(config: ConfigDict) -> Dataset:
    """Reads, divides, windows, fits the normaliser and audits, in this order.

    Args:
      config: the `data` part of a config that `check_config` has passed.

    Raises:
      ConfigError: a value that cannot be used, as a window longer than the recordings.
      DataError: files that are missing or damaged, or splits that are not separate.
    """
    own = {f"data.{name}": value for name, value in config.items() if not isinstance(value, ConfigDict)}
    check_values(own, fields_of("data"))
    spec = find_dataset(config.name)
    recordings = read_dataset(config.name, config.raw_dir, config.cache_dir, config.get(config.name))
    marks = list(spec.marks)
    notes = list(recordings.notes)
    if recordings.missing:
        missing = "; ".join(recordings.missing)
        if config.require_complete:
            raise DataError(f"data.require_complete=True, and {config.name} is incomplete: {missing}")
        marks.append("incomplete")
        notes += [f"incomplete: {what}" for what in recordings.missing]
    digests = [content_digest(r) for r in recordings]
    data_fingerprint = fingerprint(recordings, digests)

    outside = spec.tested_within(config, recordings) if config.within else set()
    choice = choose_fold(config, recordings) if config.within else spec.choose(config, recordings)
    task = spec.task(config.within or config.protocol, recordings.class_names, config.classes)
    class_names = trained_classes(task.classes, config.left_out_class)
    if config.left_out_class:
        task = task._replace(classes=(*class_names, config.left_out_class))
    digests = [digest for digest, r in zip(digests, recordings, strict=True) if r.subject not in outside]
    kept = [
        relabel(keep_channels(decimate(r, config.decimate), config.channels), task)
        for r in recordings.release()
        if r.subject not in outside
    ]
    recordings = dataclasses.replace(recordings, recordings=kept)
    if outside:
        notes.append(
            f"data.within={config.within!r}: left out are the {len(outside)} subjects that this protocol tests"
        )
    names = recordings.subject_names
    samples = count_samples(recordings, task.classes, names)
    if unlabelled := sum(classes[""] for classes in samples.values()):
        total = sum(sum(classes.values()) for classes in samples.values())
        notes.append(f"{unlabelled:,} of {total:,} samples have none of the classes")
    try:
        protocol = spec.divide(config.protocol, recordings, choice)
    except DataError as error:
        if not recordings.missing:
            raise
        raise DataError(f"{error}; the data is incomplete: {missing}") from error
    if config.validation == "none":
        protocol = train_on_validation(protocol)
    if config.heldout:
        protocol = hold_out(protocol, recordings, config.heldout)
    if protocol.leaky:
        marks.append("leaky")
    if config.calibration:
        protocol = set_aside_calibration(protocol, recordings, config.calibration, len(class_names))
    notes += protocol.notes

    order, protocol = arrange(protocol)
    read = recordings[order[0]].channels
    inputs = tuple(read[i] for i in make_view(read, config.view).inputs)
    intervals = [interval for parts in protocol.intervals.values() for interval in parts]
    length = sum(len(recordings[i].labels) for i in order)
    views = (
        view_recording(r, config.view, interval_cuts(intervals, i)) for i, r in enumerate(recordings.release(order))
    )
    pool = make_pool(views, length, names)
    windows = split_windows(config, pool, protocol)
    tested = windows["test"]
    if config.left_out_class:
        windows, unknown = separate_class(pool, windows, len(class_names), config.window)
        if not len(unknown.start):
            raise ConfigError(
                f"data.left_out_class={config.left_out_class!r}: no window of the test part has this class"
            )
        notes.append(
            f"data.left_out_class={config.left_out_class!r}: no window of it trains or validates; its "
            f"{len(unknown.start)} windows of the test part are unknown to the model"
        )
    for split, index in windows.items():
        if len(index.label) == 0:
            raise ConfigError(empty_part(config, pool, protocol, split))
    training = covered_samples(windows["train"].start, config.window, len(pool.labels))
    normalizer = fit_normalizer(pool.signals, training, config.normalize)
    if found := outlying_channel(pool.signals, training, normalizer):
        raise DataError(outlier_message(pool, training, *found))
    proved = audit(
        pool,
        protocol,
        {**windows, "test": tested},
        config.window,
        normalizer,
        config.normalize,
        [digests[i] for i in order],
        config.join_recordings,
    )

    def make_split(index: WindowIndex) -> Split:
        return Split(index.start.astype(np.int32), index.label, pool.subjects[pool.recording_of(index.start)])

    splits = {split: make_split(index) for split, index in windows.items()}
    calibration = splits.pop("calibration", None)
    if config.train_starts == "random":
        splits["train"] = dataclasses.replace(splits["train"], bounds=start_bounds(config, pool, protocol, splits))
    counts = {
        split: dict.fromkeys(class_names, 0) | count_by_name(part.labels, class_names) for split, part in splits.items()
    }
    called = {number: names.get(number, str(number)) for number in pool.subjects.tolist()}
    starts = np.concatenate([index.start for index in windows.values()])
    if len(without := np.setdiff1d(pool.subjects, pool.subjects[pool.recording_of(starts)])):
        who = listed([called[number] for number in without.tolist()])
        notes.append(f"no window of {config.window} labelled samples is of the subjects {who}")
    if unseen := [name for name in class_names if not counts["train"][name]]:
        if protocol.every_class:
            raise DataError(
                f"data.protocol={protocol.name}, data.fold={config.fold}: no training window has the class "
                f"{listed(unseen)}; choose another data.folds, or classes that more subjects have (data.classes)"
            )
        notes.append(f"no training window has the class {listed(unseen)}")
    if config.join_recordings:
        last = config.window - 1
        crossing = {
            split: np.count_nonzero(pool.recording_of(index.start) != pool.recording_of(index.start + last))
            for split, index in windows.items()
        }
        notes.append(
            "recordings are joined, and windows run from one into the next: "
            + ", ".join(f"{count} in {split}" for split, count in crossing.items())
        )
    return Dataset(
        signals=pool.signals,
        splits=splits,
        window=config.window,
        normalizer=normalizer,
        class_names=class_names,
        channels=pool.channels,
        inputs=inputs,
        marks=tuple(marks),
        fingerprint=data_fingerprint,
        rate=pool.rate,
        windows={split: len(part.labels) for split, part in splits.items()},
        counts=counts,
        subject_counts={split: count_by_name(part.subjects, called) for split, part in splits.items()},
        samples=samples,
        missing_values=recordings.missing_values,
        notes=(*notes, *proved),
        offsets=pool.offsets,
        runs=pool.runs,
        subject_names=names,
        labels=np.where(pool.labels < len(class_names), pool.labels, UNLABELLED).astype(np.int32),
        test_stretches=pool.stretches(protocol.intervals["test"], config.join_recordings),
        calibration=calibration,
        unknown=make_split(unknown) if config.left_out_class else None,
    )


def trained_classes(classes: tuple[str, ...], left_out: str) -> tuple[str, ...]:
    """Returns the classes without the one that is left out; all where `left_out` is empty.

    Raises:
      ConfigError: there is no such class, or fewer than two are left.
    """
    kept = tuple(name for name in classes if name != left_out)
    if left_out and (len(kept) == len(classes) or len(kept) < 2):
        raise ConfigError(
            f"data.left_out_class={left_out!r}: expected one of {', '.join(classes)}, and at least two others"
        )
    return kept


def separate_class(
    pool: Pool, windows: Mapping[str, WindowIndex], label: int, window: int
) -> tuple[dict[str, WindowIndex], WindowIndex]:
    """Returns the windows of each part without a sample of a class, and those of the test part that have its label."""
    samples = np.concatenate([[0], np.cumsum(pool.labels == label)])
    kept = {}
    for split, index in windows.items():
        clear = (samples[index.start + window] == samples[index.start]) & (index.label != label)
        kept[split] = WindowIndex(*(column[clear] for column in index))
    return kept, WindowIndex(*(column[windows["test"].label == label] for column in windows["test"]))


def arrange(protocol: Protocol) -> tuple[list[int], Protocol]:
    """Puts recordings of one part next to each other; returns the old indices in order, and the protocol with new ones.

    Recordings in no part are left out.
    """
    order = list(dict.fromkeys(part.recording for parts in protocol.intervals.values() for part in parts))
    new = {old: i for i, old in enumerate(order)}
    intervals = {
        split: [part._replace(recording=new[part.recording]) for part in parts]
        for split, parts in protocol.intervals.items()
    }
    return order, protocol._replace(intervals=intervals)


def split_windows(config: ConfigDict, pool: Pool, protocol: Protocol) -> dict[str, WindowIndex]:
    """Returns the windows of every part; those of a leaky protocol are drawn from all windows."""
    if protocol.leaky:
        stretches = pool.stretches(protocol.intervals["train"])
        every = index_windows(pool.labels, stretches, config.window, config.step, config.label_rule)
        order = np.random.default_rng(config.fold).permutation(len(every.start))
        test = round(len(order) * TEST_SHARE)
        cuts = [test, test + round(len(order) * VALIDATION_SHARE)]
        drawn = dict(zip(("test", "validation", "train"), np.split(order, cuts), strict=True))
        if "validation" not in protocol.intervals:
            drawn["train"] = order[test:]
        return {
            split: WindowIndex(*(column[np.sort(drawn[split])] for column in every)) for split in protocol.intervals
        }
    join = config.join_recordings
    return {
        split: index_windows(pool.labels, pool.stretches(parts, join), config.window, config.step, config.label_rule)
        for split, parts in protocol.intervals.items()
    }


def start_bounds(config: ConfigDict, pool: Pool, protocol: Protocol, splits: Mapping[str, Split]) -> np.ndarray:
    """Returns the first and the last sample (n, 2) at which each training window may begin.

    They lie half of `data.step` before and after the window's begin, or nearer, so that the window stays within the
    contiguous samples of its label in the training part of one recording.

    Raises:
      ConfigError: the protocol draws test windows among those that overlap with training windows.
    """
    if protocol.leaky:
        raise ConfigError(
            "data.train_starts='random' would move training windows onto tested samples with "
            f"data.protocol={protocol.name}; set --config.data.train_starts=fixed"
        )
    starts = splits["train"].starts
    stretches = pool.stretches(protocol.intervals["train"], config.join_recordings)
    runs = cut_at_label_changes(pool.labels, stretches)
    first, end = runs[np.searchsorted(runs[:, 0], starts, side="right") - 1].T
    half = config.step // 2
    bounds = [np.maximum(starts - half, first), np.minimum(starts + half, end - config.window)]
    return np.stack(bounds, axis=1).astype(np.int32)


def empty_part(config: ConfigDict, pool: Pool, protocol: Protocol, split: str) -> str:
    """Returns the message for a part without a window."""
    stretches = pool.stretches(protocol.intervals[split], config.join_recordings)
    runs = cut_at_label_changes(pool.labels, stretches)
    runs = runs[pool.labels[runs[:, 0]] != UNLABELLED]
    longest = int(np.diff(stretches).max(initial=0))
    longest_run = int(np.diff(runs).max(initial=0))
    return (
        f"data.window={config.window}: no window fits into the {split} part of protocol {protocol.name}: its longest "
        f"contiguous stretch has {longest} samples, its longest stretch of one class {longest_run}; choose a shorter "
        f"window, other classes or another protocol"
    )


def outlier_message(pool: Pool, training: np.ndarray, channel: int, usual: float) -> str:
    """Returns a message that names the most extreme training sample of a channel, see `outlying_channel`."""
    distances = np.where(training, np.abs(pool.signals[:, channel] - np.median(pool.signals[training, channel])), 0)
    at = int(distances.argmax())
    return (
        f"channel {pool.channels[channel].name}: {pool.signals[at, channel]:g} ({pool.describe(at)}), where 99.9 % of "
        f"the training samples lie within {usual:g} of the median; normalised with it the others would be equal: "
        "correct the value or leave it empty"
    )


def count_by_name(numbers: np.ndarray, names: Sequence[str] | Mapping[int, str]) -> dict[str, int]:
    """Returns {name: count} of the numbers that occur, in ascending order of the numbers."""
    found, counts = np.unique(numbers, return_counts=True)
    return {names[number]: count for number, count in zip(found.tolist(), counts.tolist(), strict=True)}


def count_samples(
    recordings: Sequence[Recording], class_names: Sequence[str], names: Mapping[int, str]
) -> dict[str, dict[str, int]]:
    """Returns {subject: {class name: number of samples}}, by the subjects' numbers; '' for samples of no class."""
    totals: dict[int, np.ndarray] = {}
    for r in sorted(recordings, key=lambda r: r.subject):
        counts = np.bincount(r.labels - UNLABELLED, minlength=1 + len(class_names))
        totals[r.subject] = totals.get(r.subject, 0) + counts
    return {
        names.get(subject, str(subject)): dict(zip(("", *class_names), counts.tolist(), strict=True))
        for subject, counts in totals.items()
    }
