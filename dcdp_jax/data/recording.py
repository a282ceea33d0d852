"""Continuous recordings with a label per sample, and the container for those of a data set."""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

UNLABELLED = -1


class Channel(NamedTuple):
    """A signal: its unique name, its group (acc, gyro, mag, ...), the site of its device, and its unit."""

    name: str
    group: str
    site: str
    unit: str


@dataclasses.dataclass(frozen=True)
class Recording:
    """The samples of one session of one subject."""

    signals: np.ndarray  # (t, c) float32
    labels: np.ndarray  # (t,) int32 class index, or `UNLABELLED`
    subject: int  # number of the subject, as the publisher numbers them
    run: str  # name of the session, as the publisher names it
    rate: float  # samples per second
    channels: tuple[Channel, ...]  # one per column of signals
    # (s,) int64 first sample of each contiguous stretch, beginning with 0; no window crosses one
    starts: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(1, np.int64))
    # {name: (t,) int32} of other label tracks, such as `locomotion`; see `Task.track`
    tracks: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        t, c = self.signals.shape
        if self.labels.shape != (t,) or len(self.channels) != c:
            raise ValueError(
                f"recording {self.subject}/{self.run}: signals {self.signals.shape}, labels {self.labels.shape}, "
                f"{len(self.channels)} channels do not belong together"
            )
        rising = bool(np.all(np.diff(self.starts) > 0))
        if t == 0 or self.starts[0] != 0 or self.starts[-1] >= t or not rising:
            raise ValueError(f"recording {self.subject}/{self.run}: starts {self.starts} do not divide {t} samples")
        for name, track in self.tracks.items():
            if track.shape != (t,):
                raise ValueError(f"recording {self.subject}/{self.run}: track {name!r} {track.shape} is not ({t},)")

    @property
    def stretches(self) -> np.ndarray:
        """Returns the (s, 2) int64 first sample and the one after the last of each contiguous stretch."""
        return np.stack([self.starts, np.append(self.starts[1:], len(self.labels))], axis=1)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Returns the names of the columns of signals."""
        return tuple(channel.name for channel in self.channels)


def content_digest(recording: Recording) -> str:
    """Returns the SHA-256 of a recording's samples and labels; its subject and run do not matter."""
    digest = hashlib.sha256(repr(recording.signals.shape).encode())
    arrays = [(recording.signals, "<f4"), (recording.labels, "<i4"), (recording.starts, "<i8")]
    for name in sorted(recording.tracks):
        digest.update(name.encode())
        arrays.append((recording.tracks[name], "<i4"))
    for array, kind in arrays:
        digest.update(np.ascontiguousarray(array, kind).data)
    return digest.hexdigest()


def fingerprint(recordings: Sequence[Recording], digests: Sequence[str] = ()) -> str:
    """Returns the SHA-256 of everything in the recordings that training can depend on, not of their files.

    `digests` has the `content_digest` of each recording; () computes them.
    """
    digests = digests or [content_digest(r) for r in recordings]
    whole = hashlib.sha256()
    for r, content in zip(recordings, digests, strict=True):
        whole.update(repr((r.subject, r.run, r.rate, r.channels, content)).encode())
    return whole.hexdigest()


@dataclasses.dataclass(frozen=True, eq=False)
class Recordings(Sequence[Recording]):
    """The recordings of one data set in order, with what is known of them as a whole."""

    recordings: list[Recording]  # emptied by `release`
    class_names: tuple[str, ...]  # a label is an index into them
    # {number: name} of the subjects that have a name in the data
    subject_names: Mapping[int, str] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()  # what was found in the files and how it was dealt with, one sentence each
    missing: tuple[str, ...] = ()  # how the files fall short of the published data set; empty where they are complete
    # {channel name: number of values that the files lack and that were filled in}
    missing_values: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: Any) -> Any:
        return self.recordings[index]

    def names_of(self, subjects: Iterable[int]) -> list[str]:
        """Returns the names of the subjects with these numbers; the number as text for a subject without a name."""
        return [self.subject_names.get(number, str(number)) for number in subjects]

    def release(self, order: Sequence[int] | None = None) -> Iterator[Recording]:
        """Yields the recordings in an order of indices, or all, and drops the reference to each, to free its memory.

        This object is empty from then on; recordings that are not in the order are freed at once.
        """
        held = {i: self.recordings[i] for i in (range(len(self)) if order is None else order)}
        self.recordings.clear()
        while held:
            yield held.pop(next(iter(held)))
