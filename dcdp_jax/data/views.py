"""Changes recordings before they are windowed: fewer samples, fewer channels or classes, derived channels."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from dcdp_jax.data.classes import Task
from dcdp_jax.data.partition import select_channels
from dcdp_jax.data.pool import Interval
from dcdp_jax.data.recording import UNLABELLED, Channel, Recording
from dcdp_jax.errors import ConfigError, DataError

COMPUTED_VIEWS = ("derived", "mirror")  # views with channels that no sensor gives
VIEWS = ("raw", *COMPUTED_VIEWS, "axis")
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
    kept = kept_samples(recording, every)
    return dataclasses.replace(
        recording,
        signals=recording.signals[kept],
        labels=recording.labels[kept],
        tracks={name: track[kept] for name, track in recording.tracks.items()},
        rate=recording.rate / every,
        starts=np.searchsorted(kept, recording.starts),
    )


def kept_samples(recording: Recording, every: int) -> np.ndarray:
    """Returns the indices of the samples that `decimate` keeps, ascending."""
    bounds = np.append(recording.starts, len(recording.labels))
    within = np.arange(len(recording.labels)) - np.repeat(recording.starts, np.diff(bounds))
    return np.flatnonzero(within % every == 0)


def keep_channels(recording: Recording, selectors: Sequence[str]) -> Recording:
    """Returns a recording with only the channels or groups that are named; () keeps all.

    Raises:
      ConfigError: a name matches nothing.
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
    """Returns a recording with labels that index the task's classes; samples of other classes become `UNLABELLED`.

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
    """Gives a recording of one kind of sensor, with the group `acc`, something to divide between two branches.

    Args:
      recording: to change.
      view: `raw`: as it is. `derived`: two channels more for every acceleration, its `gravity` and the `residual`.
        `mirror`: every acceleration twice, the copy in the group `mirror`. `axis`: groups are the axes x, y and z.
      cuts: samples at which filters start anew, as at a gap.

    Raises:
      ConfigError: an unknown view, or no channel for it.
    """
    if view not in VIEWS:
        raise ConfigError(f"data.view={view!r} is none of {', '.join(VIEWS)}")
    if view == "raw":
        return recording
    chosen = accelerations(recording.channels)
    if not chosen:
        raise ConfigError(f"data.view={view!r} needs channels of the group 'acc'; there are none in this data set")
    if view == "axis":
        return dataclasses.replace(recording, channels=tuple(map(group_by_axis, recording.channels)))
    starts = np.union1d(recording.starts, np.asarray(cuts, np.int64))
    added = computed_signals(
        recording.signals[:, chosen], view, lambda x: low_pass(x, starts[starts < len(x)], recording.rate)
    )
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


def accelerations(channels: Sequence[Channel]) -> list[int]:
    """Returns the indices of the channels from which views are computed."""
    return [i for i, channel in enumerate(channels) if channel.group == "acc"]


def group_by_axis(channel: Channel) -> Channel:
    """Returns the channel in the group of its axis, which is the last letter of its name.

    Raises:
      ConfigError: its name does not end with x, y or z.
    """
    axis = channel.name[-1:].lower()
    if axis not in ("x", "y", "z"):
        raise ConfigError(f"data.view='axis': the name of channel {channel.name!r} does not end with its axis")
    return channel._replace(group=axis)


def computed_signals(
    source: np.ndarray, view: str, gravity_of: Callable[[np.ndarray], np.ndarray]
) -> Mapping[str, np.ndarray]:
    """Returns {group: (t, c)} that the view `derived` or `mirror` adds to (t, c) accelerations, in this order."""
    if view == "mirror":
        return {"mirror": source}
    gravity = gravity_of(source)
    return {"gravity": gravity, "residual": source - gravity}


@functools.cache
def gravity_filter(rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns second-order sections, and their steady state (sections, 2, 1) for a constant signal of 1."""
    from scipy import signal

    sections = signal.butter(GRAVITY_ORDER, GRAVITY_CUTOFF, fs=rate, output="sos")
    return sections, signal.sosfilt_zi(sections)[:, :, None]


class LowPass:
    """A causal Butterworth low-pass filter for gravity in one contiguous stretch, in steady state at its first sample.

    It is causal so that a device computes the same while it records, at the price of a delay of about a second.
    """

    def __init__(self, rate: float) -> None:
        """Makes the filter for signals with this number of samples per second, above 0.6."""
        self._sections, self._steady = gravity_filter(rate)
        self._state: np.ndarray | None = None

    def __call__(self, signals: np.ndarray) -> np.ndarray:
        """Filters the next (t, c) accelerations to (t, c) float32; cutting a stretch into pieces changes nothing."""
        from scipy import signal

        if self._state is None:
            self._state = self._steady * signals[0]
        gravity, self._state = signal.sosfilt(self._sections, signals, axis=0, zi=self._state)
        return gravity.astype(np.float32)


def low_pass(signals: np.ndarray, starts: np.ndarray, rate: float) -> np.ndarray:
    """Computes gravity of (t, c) accelerations in each stretch, of which (s,) starts are the first samples."""
    gravity = np.empty_like(signals)
    for a, b in zip(starts, np.append(starts[1:], len(signals)), strict=True):
        gravity[a:b] = LowPass(rate)(signals[a:b])
    return gravity


def interval_cuts(intervals: Iterable[Interval], recording: int) -> list[int]:
    """Returns all bounds of the intervals of a recording; no filter may carry a sample across one."""
    return sorted({at for i, *bounds in intervals if i == recording for at in bounds})
