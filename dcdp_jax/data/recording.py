"""What every reader returns: continuous recordings with a label per sample."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

UNLABELLED = -1


class Channel(NamedTuple):
    """One signal: its unique name, its group (acc, gyro, mag, ...), the device that carries it, and its unit."""

    name: str
    group: str
    site: str
    unit: str


@dataclasses.dataclass(frozen=True)
class Recording:
    """One subject wearing the sensors without interruption of the session.

    Attributes:
      signals: (t, c) float32.
      labels: (t,) int32 class index, or `UNLABELLED`.
      subject: the publisher's subject number.
      run: the publisher's name of the session.
      rate: samples per second.
      channels: one per column of signals.
      starts: (s,) int64 first sample of each contiguous stretch, beginning with 0; no window crosses one.
      tracks: other label tracks by name, as {'locomotion': (t,) int32}; a protocol may take its labels from one.
    """

    signals: np.ndarray
    labels: np.ndarray
    subject: int
    run: str
    rate: float
    channels: tuple[Channel, ...]
    starts: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(1, np.int64))
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
                raise ValueError(
                    f"recording {self.subject}/{self.run}: track {name!r} {track.shape} has not one label for each of "
                    f"{t} samples"
                )

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the columns of signals."""
        return tuple(channel.name for channel in self.channels)


def content_digest(recording: Recording) -> str:
    """SHA-256 of a recording's samples and labels, whoever they are said to be from."""
    digest = hashlib.sha256(repr(recording.signals.shape).encode())
    arrays = [(recording.signals, "<f4"), (recording.labels, "<i4"), (recording.starts, "<i8")]
    for name in sorted(recording.tracks):
        digest.update(name.encode())
        arrays.append((recording.tracks[name], "<i4"))
    for array, kind in arrays:
        digest.update(np.ascontiguousarray(array, kind).data)
    return digest.hexdigest()


def fingerprint(recordings: Sequence[Recording], digests: Sequence[str] = ()) -> str:
    """SHA-256 over everything that a training could depend on; two data folders with the same content agree.

    Args:
      recordings: the data.
      digests: their `content_digest`s, where they are known already.
    """
    digests = digests or [content_digest(r) for r in recordings]
    whole = hashlib.sha256()
    for r, content in zip(recordings, digests, strict=True):
        whole.update(repr((r.subject, r.run, r.rate, r.channels, content)).encode())
    return whole.hexdigest()
