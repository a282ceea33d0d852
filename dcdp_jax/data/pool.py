"""Concatenates recordings in one array, in which a window is a position, so that the data is in memory once."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dcdp_jax.data.recording import Channel, Recording
from dcdp_jax.errors import DataError

ALIGNMENT = 64  # bytes


class Interval(NamedTuple):
    """The samples from start up to, not including, stop of the recording with this index."""

    recording: int
    start: int
    stop: int


@dataclasses.dataclass(frozen=True)
class Pool:
    """The t samples of r recordings, one recording after the other."""

    signals: np.ndarray  # (t, c) float32
    labels: np.ndarray  # (t,) int32 class index, or `UNLABELLED`
    offsets: np.ndarray  # (r + 1,) int64 first sample of each recording, and t
    subjects: np.ndarray  # (r,) int32 subject of each recording
    runs: tuple[str, ...]  # r names of sessions
    starts: np.ndarray  # (s,) int64 first sample of every contiguous stretch of every recording
    channels: tuple[Channel, ...]  # the c channels
    rate: float  # samples per second
    # {number: name} of the subjects that have a name in the data
    subject_names: Mapping[int, str] = dataclasses.field(default_factory=dict)

    def recording_of(self, samples: np.ndarray) -> np.ndarray:
        """Returns the index of the recording that each sample belongs to."""
        return np.searchsorted(self.offsets, samples, side="right") - 1

    def place(self, recording: int) -> str:
        """Returns subject and run of a recording, for messages."""
        subject = int(self.subjects[recording])
        return f"subject {self.subject_names.get(subject, subject)}, run {self.runs[recording]}"

    def describe(self, sample: int, preposition: str = "") -> str:
        """Returns subject, run and position of a sample, for messages."""
        recording = int(self.recording_of(np.array([sample]))[0])
        return f"{self.place(recording)}, {preposition}sample {sample - self.offsets[recording]}"

    def absolute(self, intervals: Sequence[Interval]) -> np.ndarray:
        """Returns the first position and the one after the last of intervals as (i, 2) int64, ascending."""
        spans = [(self.offsets[i] + start, self.offsets[i] + stop) for i, start, stop in intervals]
        return np.array(sorted(spans), np.int64).reshape(-1, 2)

    def stretches(self, intervals: Sequence[Interval], join: bool = False) -> np.ndarray:
        """Returns the (s, 2) int64 first sample and the one after the last of each contiguous stretch in intervals.

        With `join`, the end of a recording and the beginning of the next count as contiguous, where both are in the
        intervals and next to each other here.
        """
        spans = self.absolute(intervals)
        breaks = self.starts
        if join:
            spans = merge_touching(spans)
            breaks = np.setdiff1d(breaks, self.offsets)
        first = np.searchsorted(breaks, spans[:, 0], side="right")
        last = np.searchsorted(breaks, spans[:, 1], side="left")
        cuts = [
            np.concatenate([[a], breaks[i:j], [b]]) for (a, b), i, j in zip(spans, first, last, strict=True) if a < b
        ]
        if not cuts:
            return np.zeros((0, 2), np.int64)
        return np.concatenate([np.stack([cut[:-1], cut[1:]], axis=1) for cut in cuts])


def merge_touching(spans: np.ndarray) -> np.ndarray:
    """Merges ascending (i, 2) spans that touch.

    >>> merge_touching(np.array([[0, 3], [3, 5], [6, 7]])).tolist()
    [[0, 5], [6, 7]]
    """
    if len(spans) == 0:
        return spans
    breaks = np.flatnonzero(spans[1:, 0] != spans[:-1, 1])
    return np.stack([spans[np.append(0, breaks + 1), 0], spans[np.append(breaks, len(spans) - 1), 1]], axis=1)


def make_pool(recordings: Iterable[Recording], samples: int, subject_names: Mapping[int, str]) -> Pool:
    """Concatenates recordings.

    Args:
      recordings: recordings with the same channels and rate, at least one. Each is copied before the next one is asked
        for, so that an iterator that makes or releases them needs memory for one at a time.
      samples: number of samples of all recordings together.
      subject_names: see `Pool`.

    Raises:
      DataError: recordings that differ in channels or rate, or a value that is not finite.
    """
    offsets: list[int] = [0]
    subjects: list[int] = []
    runs: list[str] = []
    starts: list[np.ndarray] = []
    labels = np.empty(samples, np.int32)
    for recording in recordings:
        if not runs:
            channels, rate = recording.channels, recording.rate
            signals = aligned_empty((samples, len(channels)))
        if recording.channels != channels or recording.rate != rate:
            raise DataError(
                f"subject {recording.subject}, run {recording.run}: channels or rate differ from those of subject "
                f"{subjects[0]}, run {runs[0]}; all recordings of a data set must have the same"
            )
        if not (finite := np.isfinite(recording.signals)).all():
            sample, channel = np.argwhere(~finite)[0]
            raise DataError(
                f"subject {recording.subject}, run {recording.run}, sample {sample}: channel {channels[channel].name} "
                f"is {recording.signals[sample, channel]}, expected a finite number"
            )
        a, b = offsets[-1], offsets[-1] + len(recording.labels)
        signals[a:b], labels[a:b] = recording.signals, recording.labels
        offsets.append(b)
        subjects.append(recording.subject)
        runs.append(recording.run)
        starts.append(recording.starts + a)
        del recording  # before the next one is made
    if not runs or offsets[-1] != samples:
        raise ValueError(f"recordings of {offsets[-1]} samples, expected {samples}")
    return Pool(
        signals,
        labels,
        np.array(offsets, np.int64),
        np.array(subjects, np.int32),
        tuple(runs),
        np.concatenate(starts),
        channels,
        rate,
        subject_names,
    )


def aligned_empty(shape: tuple[int, int]) -> np.ndarray:
    """Returns a float32 array at an address that lets JAX use it on the CPU without a copy.

    >>> aligned_empty((3, 5)).ctypes.data % 64
    0
    """
    size = 4 * shape[0] * shape[1]
    memory = np.empty(size + ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % ALIGNMENT
    return memory[first : first + size].view(np.float32).reshape(shape)
