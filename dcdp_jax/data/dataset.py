"""Builds the data of a run from its config, in the order of the steps: arrays that are ready for the device."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.data.audit import audit
from dcdp_jax.data.datasets import find_dataset
from dcdp_jax.data.normalize import Normalizer, covered_samples, fit_normalizer, outlying_channel
from dcdp_jax.data.parts import arrange, divide, empty_part, separate_class, split_windows, start_bounds
from dcdp_jax.data.pool import Pool, make_pool
from dcdp_jax.data.prepared import read_dataset
from dcdp_jax.data.protocols import Protocol, listed
from dcdp_jax.data.recording import UNLABELLED, Channel, Recordings, content_digest, fingerprint
from dcdp_jax.data.spec import Task, choose_fold
from dcdp_jax.data.views import decimate, interval_cuts, keep_channels, make_view, relabel, view_recording
from dcdp_jax.data.windows import WindowIndex
from dcdp_jax.errors import ConfigError, DataError
from dcdp_jax.values import check_values, fields_of


@dataclasses.dataclass(frozen=True)
class Split:
    """The windows of one split."""

    starts: np.ndarray  # (n,) int32 first sample of each window in `Dataset.signals`
    labels: np.ndarray  # (n,) int32 class index
    subjects: np.ndarray  # (n,) int32 subject of each window
    # (n, 2) int32 first and last sample at which each window may begin, see `start_bounds`; None where all begin
    # at `starts`
    bounds: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Recordings end to end, the windows of each split as indices into them, and their names."""

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
    # {subject: {class name: number of samples}} of everything that was read, in a split or not; '' is the name for
    # samples of no class
    samples: Mapping[str, Mapping[str, int]]
    missing_values: Mapping[str, int]  # {channel name: number of values that the files lack}
    notes: tuple[str, ...]  # what was chosen, left out, missing and proved, one sentence each
    offsets: np.ndarray  # (r + 1,) int64 first sample of each recording in `signals`, and t
    runs: tuple[str, ...]  # r names of recordings
    # {number: name} of the subjects that have a name in the data
    subject_names: Mapping[int, str]
    labels: np.ndarray  # (t,) int32 class index of each sample, or `UNLABELLED`
    # (s, 2) int64 first sample and the one after the last of each contiguous stretch of the test set
    test_stretches: np.ndarray
    calibration: Split | None = None  # windows of the test subjects to adapt with; None without `data.calibration`
    # windows of the test set that have `data.left_out_class`, with the label k; None without such a class
    unknown: Split | None = None

    @functools.cached_property
    def windows(self) -> dict[str, int]:
        """Number of windows by split."""
        return {split: len(part.labels) for split, part in self.splits.items()}

    @functools.cached_property
    def counts(self) -> dict[str, dict[str, int]]:
        """Number of windows by split and class name."""
        counts = {split: Counter(part.labels.tolist()) for split, part in self.splits.items()}
        return {
            split: {name: of_part[k] for k, name in enumerate(self.class_names)} for split, of_part in counts.items()
        }

    @functools.cached_property
    def subject_counts(self) -> dict[str, dict[str, int]]:
        """Number of windows by split and subject, which is its name, or its number as text."""
        counts = {split: sorted(Counter(part.subjects.tolist()).items()) for split, part in self.splits.items()}
        return {split: {self.subject_names.get(s, str(s)): n for s, n in of_part} for split, of_part in counts.items()}

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

    # Read, and choose people, classes and channels.
    recordings = read_dataset(config.name, config.raw_dir, config.cache_dir, config.get(config.name))
    if recordings.missing and config.require_complete:
        missing = "; ".join(recordings.missing)
        raise DataError(f"data.require_complete=True, and {config.name} is incomplete: {missing}")
    digests = [content_digest(r) for r in recordings]
    data_fingerprint = fingerprint(recordings, digests)
    outside = spec.tested_within(config, recordings) if config.within else set()
    choice = choose_fold(config, recordings) if config.within else spec.choose(config, recordings)
    task = leave_out_class(
        spec.task(config.within or config.protocol, recordings.class_names, config.classes), config.left_out_class
    )
    class_names = tuple(name for name in task.classes if name != config.left_out_class)
    chosen = [i for i, r in enumerate(recordings) if r.subject not in outside]
    released = recordings.release(chosen)
    changed = [relabel(keep_channels(decimate(r, config.decimate), config.channels), task) for r in released]
    recordings = dataclasses.replace(recordings, recordings=changed)
    samples = count_samples(recordings, task.classes)

    # Split.
    protocol = divide(config, spec, recordings, choice, len(class_names))
    order, protocol = arrange(protocol)

    # Window.
    channels = recordings[order[0]].channels
    inputs = tuple(channels[i] for i in make_view(channels, config.view).inputs)
    pool = pool_views(config.view, recordings, order, protocol)
    every = split_windows(config, pool, protocol)
    windows, unknown, left_out_notes = every, None, []
    if config.left_out_class:
        windows, unknown = separate_class(config, pool, every, len(class_names))
        left_out_notes = [
            f"data.left_out_class={config.left_out_class!r}: no window of it trains or validates; its "
            f"{len(unknown.start)} windows of the test set are unknown to the model"
        ]
    for split, index in windows.items():
        if len(index.label) == 0:
            raise ConfigError(empty_part(config, pool, protocol, split))

    # Fit statistics, and check all of it.
    normalizer = fit_statistics(config, pool, windows["train"])
    audited = {**windows, "test": every["test"]}
    ordered = [digests[chosen[i]] for i in order]
    join = config.join_recordings
    proved = audit(pool, protocol, audited, config.window, normalizer, config.normalize, ordered, join)

    splits = {split: make_split(pool, index) for split, index in windows.items()}
    calibration = splits.pop("calibration", None)
    if config.train_starts == "random":
        bounds = start_bounds(config, pool, protocol, splits["train"].starts)
        splits["train"] = dataclasses.replace(splits["train"], bounds=bounds)
    incomplete = ("incomplete",) if recordings.missing else ()
    leaky = ("leaky",) if protocol.leaky else ()
    return Dataset(
        signals=pool.signals,
        splits=splits,
        window=config.window,
        normalizer=normalizer,
        class_names=class_names,
        channels=pool.channels,
        inputs=inputs,
        marks=(*spec.marks, *incomplete, *leaky),
        fingerprint=data_fingerprint,
        rate=pool.rate,
        samples=samples,
        missing_values=recordings.missing_values,
        notes=(
            *recordings.notes,
            *(f"incomplete: {what}" for what in recordings.missing),
            *sample_notes(config, outside, samples),
            *protocol.notes,
            *left_out_notes,
            *window_notes(config, protocol, pool, windows, class_names),
            *proved,
        ),
        offsets=pool.offsets,
        runs=pool.runs,
        subject_names=recordings.subject_names,
        labels=np.where(pool.labels < len(class_names), pool.labels, UNLABELLED).astype(np.int32),
        test_stretches=pool.stretches(protocol.intervals["test"], join),
        calibration=calibration,
        unknown=make_split(pool, unknown) if unknown is not None else None,
    )


def leave_out_class(task: Task, left_out: str) -> Task:
    """Returns a task whose last class is the one that is left out; the same task where `left_out` is empty.

    Raises:
      ConfigError: there is no such class, or fewer than two others.
    """
    if not left_out:
        return task
    kept = tuple(name for name in task.classes if name != left_out)
    if len(kept) == len(task.classes) or len(kept) < 2:
        raise ConfigError(
            f"data.left_out_class={left_out!r}: expected one of {', '.join(task.classes)}, and at least two others"
        )
    return task._replace(classes=(*kept, left_out))


def count_samples(recordings: Recordings, class_names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Returns {subject: {class name: number of samples}}, by the subjects' numbers; '' for samples of no class."""
    totals: dict[int, np.ndarray] = {}
    for r in sorted(recordings, key=lambda r: r.subject):
        counts = np.bincount(r.labels - UNLABELLED, minlength=1 + len(class_names))
        totals[r.subject] = totals.get(r.subject, 0) + counts
    counted = [dict(zip(("", *class_names), counts.tolist(), strict=True)) for counts in totals.values()]
    return dict(zip(recordings.names_of(totals), counted, strict=True))


def pool_views(view: str, recordings: Recordings, order: Sequence[int], protocol: Protocol) -> Pool:
    """Computes the view of each recording in the order of their indices, and concatenates them.

    The recordings are released; the intervals of the protocol have the indices in the order.
    """
    intervals = [interval for parts in protocol.intervals.values() for interval in parts]
    length = sum(len(recordings[i].labels) for i in order)
    views = (view_recording(r, view, interval_cuts(intervals, i)) for i, r in enumerate(recordings.release(order)))
    return make_pool(views, length, recordings.subject_names)


def fit_statistics(config: ConfigDict, pool: Pool, windows: WindowIndex) -> Normalizer:
    """Fits the normaliser to the samples of the training windows; raises DataError if it hides a channel's values."""
    training = covered_samples(windows.start, config.window, len(pool.labels))
    normalizer = fit_normalizer(pool.signals, training, config.normalize)
    if found := outlying_channel(pool.signals, training, normalizer):
        raise DataError(outlier_message(pool, training, *found))
    return normalizer


def outlier_message(pool: Pool, training: np.ndarray, channel: int, usual: float) -> str:
    """Returns a message that names the most extreme training sample of a channel, see `outlying_channel`."""
    distances = np.where(training, np.abs(pool.signals[:, channel] - np.median(pool.signals[training, channel])), 0)
    at = int(distances.argmax())
    return (
        f"channel {pool.channels[channel].name}: {pool.signals[at, channel]:g} ({pool.describe(at)}), where 99.9 % of "
        f"the training samples lie within {usual:g} of the median; normalised with it the others would be equal: "
        "correct the value or leave it empty"
    )


def make_split(pool: Pool, index: WindowIndex) -> Split:
    """Returns the windows of a split with their subjects."""
    return Split(index.start.astype(np.int32), index.label, pool.subjects[pool.recording_of(index.start)])


def sample_notes(config: ConfigDict, outside: set[int], samples: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Returns sentences on the subjects outside of `data.within`, and on {subject: {class: samples}} of no class."""
    notes = []
    if outside:
        notes.append(
            f"data.within={config.within!r}: left out are the {len(outside)} subjects that this protocol tests"
        )
    if unlabelled := sum(classes[""] for classes in samples.values()):
        total = sum(sum(classes.values()) for classes in samples.values())
        notes.append(f"{unlabelled:,} of {total:,} samples have none of the classes")
    return notes


def window_notes(
    config: ConfigDict, protocol: Protocol, pool: Pool, windows: Mapping[str, WindowIndex], class_names: Sequence[str]
) -> list[str]:
    """Returns sentences on what has no windows, and on windows over the bounds of recordings.

    Raises:
      DataError: a class has no training window, and the protocol needs one of each.
    """
    notes = []
    recordings = {split: pool.recording_of(index.start) for split, index in windows.items()}
    there = np.concatenate(list(recordings.values()))
    if len(without := np.setdiff1d(pool.subjects, pool.subjects[there])):
        who = listed([pool.subject_names.get(number, str(number)) for number in without.tolist()])
        notes.append(f"no window of {config.window} labelled samples is of the subjects {who}")
    lost = np.setdiff1d(np.flatnonzero(~np.isin(pool.subjects, without)), there)
    if len(lost):
        notes.append(
            f"no window of {config.window} labelled samples is of {len(lost)} of {len(pool.runs)} recordings: "
            + listed([f"{pool.runs[i]} of {pool.subject_names.get(pool.subjects[i], pool.subjects[i])}" for i in lost])
        )
    if unseen := [name for label, name in enumerate(class_names) if label not in windows["train"].label]:
        if protocol.every_class:
            raise DataError(
                f"data.protocol={protocol.name}, data.fold={config.fold}: no training window has the class "
                f"{listed(unseen)}; choose another data.folds, or classes that more subjects have (data.classes)"
            )
        notes.append(f"no training window has the class {listed(unseen)}")
    if config.join_recordings:
        crossing = {
            split: np.count_nonzero(first != pool.recording_of(windows[split].start + config.window - 1))
            for split, first in recordings.items()
        }
        notes.append(
            "recordings are joined, and windows run from one into the next: "
            + ", ".join(f"{count} in {split}" for split, count in crossing.items())
        )
    return notes
