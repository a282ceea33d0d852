"""What is made of recordings before they are windowed: fewer samples, fewer channels or classes, derived channels."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dcdp_jax.data.classes import Task
from dcdp_jax.data.partition import select_channels
from dcdp_jax.data.pool import Interval
from dcdp_jax.data.recording import UNLABELLED, Channel, Recording
from dcdp_jax.errors import ConfigError, DataError

VIEWS = ("raw", "derived", "mirror", "axis")
GRAVITY_CUTOFF = 0.3  # Hz; body movement has little energy below it (Anguita et al. 2013, for UCI-HAR)
GRAVITY_ORDER = 3


def decimate(recording: Recording, every: int) -> Recording:
    """Keeps every n-th sample of each contiguous stretch, beginning with its first; nothing is averaged.

    Raises:
      ConfigError: every is less than 1.
    """
    if every < 1:
        raise ConfigError(f"data.decimate={every} must be at least 1: every n-th sample is kept")
    if every == 1:
        return recording
    bounds = np.append(recording.starts, len(recording.labels))
    within = np.arange(len(recording.labels)) - np.repeat(recording.starts, np.diff(bounds))
    kept = np.flatnonzero(within % every == 0)
    return dataclasses.replace(
        recording,
        signals=recording.signals[kept],
        labels=recording.labels[kept],
        tracks={name: track[kept] for name, track in recording.tracks.items()},
        rate=recording.rate / every,
        starts=np.searchsorted(kept, recording.starts),
    )


def keep_channels(recording: Recording, selectors: Sequence[str]) -> Recording:
    """Only the channels or groups that are named; () keeps all.

    Raises:
      ConfigError: a name that matches nothing.
    """
    if not selectors:
        return recording
    chosen = select_channels(recording.channels, selectors, "data.channels")
    return dataclasses.replace(
        recording,
        signals=recording.signals[:, chosen],
        channels=tuple(recording.channels[i] for i in chosen),
    )


def relabel(recording: Recording, task: Task) -> Recording:
    """Labels as indices into the task's classes; samples of other classes become `UNLABELLED`.

    Raises:
      DataError: the recording lacks the label track, or has a label without a name.
    """
    where = f"subject {recording.subject}, run {recording.run}"
    if task.track and task.track not in recording.tracks:
        raise DataError(f"{where}: no labels {task.track!r}")
    labels = recording.tracks[task.track] if task.track else recording.labels
    if labels.min() < UNLABELLED or labels.max() >= len(task.names):
        raise DataError(
            f"{where}: labels from {labels.min()} to {labels.max()}, expected {UNLABELLED} to {len(task.names) - 1}"
        )
    index = {name: i for i, name in enumerate(task.classes)}
    # The last entry is what UNLABELLED, -1, indexes.
    new = np.array([index.get(name, UNLABELLED) for name in (*task.names, task.unlabelled)], np.int32)
    return dataclasses.replace(recording, labels=new[labels], tracks={})


def view_recording(recording: Recording, view: str, cuts: Sequence[int] = ()) -> Recording:
    """Gives a recording of one kind of sensor something to divide between two branches.

    Args:
      recording: one with the group `acc`, unless the view is `raw`.
      view: `raw`: as it is. `derived`: two channels more for every acceleration, its `gravity` and the `residual`.
        `mirror`: every acceleration twice, the copy in the group `mirror`. `axis`: groups are the axes x, y and z.
      cuts: samples at which filters start anew, as at a gap.

    Returns:
      The recording with other channels.

    Raises:
      ConfigError: an unknown view, or no channel for it.
    """
    if view not in VIEWS:
        raise ConfigError(f"data.view={view!r} is none of {', '.join(VIEWS)}")
    if view == "raw":
        return recording
    chosen = [i for i, c in enumerate(recording.channels) if c.group == "acc"]
    if not chosen:
        raise ConfigError(f"data.view={view!r} needs channels of the group 'acc'; there are none in this data set")
    if view == "axis":
        return dataclasses.replace(recording, channels=tuple(map(group_by_axis, recording.channels)))
    source = recording.signals[:, chosen]
    if view == "mirror":
        added: Mapping[str, np.ndarray] = {"mirror": source}
    else:
        starts = np.union1d(recording.starts, np.asarray(cuts, np.int64))
        gravity = low_pass(source, starts[starts < len(source)], recording.rate)
        added = {"gravity": gravity, "residual": source - gravity}
    channels = [
        Channel(f"{group}_{c.name}", group, c.site, c.unit)
        for group in added
        for c in (recording.channels[i] for i in chosen)
    ]
    return dataclasses.replace(
        recording,
        signals=np.concatenate([recording.signals, *added.values()], axis=1),
        channels=(*recording.channels, *channels),
    )


def group_by_axis(channel: Channel) -> Channel:
    """The channel in a group that has the name of its axis, the end of its name.

    Raises:
      ConfigError: its name does not end with x, y or z.
    """
    axis = channel.name[-1:].lower()
    if axis not in ("x", "y", "z"):
        raise ConfigError(f"data.view='axis': the name of channel {channel.name!r} does not end with its axis")
    return channel._replace(group=axis)


def low_pass(signals: np.ndarray, starts: np.ndarray, rate: float) -> np.ndarray:
    """Gravity: a causal Butterworth low-pass of each contiguous stretch, in its steady state at the first sample.

    Causal, so that a device computes the same while it records; the price is a delay of about a second.

    Args:
      signals: (t, c) accelerations.
      starts: (s,) first sample of each stretch.
      rate: samples per second, above 0.6.

    Returns:
      (t, c) float32 in the unit of the signals.
    """
    from scipy import signal

    sections = signal.butter(GRAVITY_ORDER, GRAVITY_CUTOFF, fs=rate, output="sos")
    state = signal.sosfilt_zi(sections)[:, :, None]
    gravity = np.empty_like(signals)
    for a, b in zip(starts, np.append(starts[1:], len(signals)), strict=True):
        gravity[a:b], _ = signal.sosfilt(sections, signals[a:b], axis=0, zi=state * signals[a])
    return gravity


def interval_cuts(intervals: Iterable[Interval], recording: int) -> list[int]:
    """First and last bounds of all intervals of a recording: no sample on one side may reach the other."""
    return sorted({at for i, *bounds in intervals if i == recording for at in bounds})
