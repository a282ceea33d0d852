"""Changes recordings before they are windowed: fewer samples, fewer channels or classes, derived channels."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from dcdp_jax.data.gravity import LowPass
from dcdp_jax.data.partition import select_channels
from dcdp_jax.data.pool import Interval
from dcdp_jax.data.recording import UNLABELLED, Channel, Recording
from dcdp_jax.data.spec import Task
from dcdp_jax.data.vectors import Triple, accelerations_of, check_loose_axes, devices_of
from dcdp_jax.errors import ConfigError, DataError

COMPUTED_VIEWS = ("derived", "mirror", "body", "vertical")  # views with channels that are computed
VIEWS = ("raw", "derived", "mirror", "axis", "body", "vertical")
TOTAL, BODY = "total_", "body_"  # beginnings of names of accelerations with gravity and without


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
    within = np.arange(len(recording.labels)) - np.repeat(recording.starts, np.diff(recording.stretches)[:, 0])
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
    # UNLABELLED, -1, indexes the last entry.
    new = np.array([index.get(name, UNLABELLED) for name in (*task.names, task.unlabelled)], np.int32)
    return dataclasses.replace(recording, labels=new[labels], tracks={})


def view_recording(recording: Recording, name: str, cuts: Sequence[int] = ()) -> Recording:
    """Replaces the signals of a recording by the channels of a view, see `make_view`.

    A filter starts anew at every stretch. Exception: in recordings that are published as windows, each of which begins
    with the second half of the one before, it continues from window to window.

    Args:
      recording: to change.
      name: one of `VIEWS`.
      cuts: samples at which filters start anew, as at a gap.

    Raises:
      ConfigError: an unknown view, or channels from which it cannot be computed.
    """
    view = make_view(recording.channels, name)
    if name not in COMPUTED_VIEWS:
        return recording if name == "raw" else dataclasses.replace(recording, channels=view.channels)
    source = recording.signals[:, view.inputs]
    starts = np.union1d(recording.starts, np.asarray(cuts, np.int64))
    starts = starts[starts < len(source)]
    going_on = continued(source, starts) & ~np.isin(starts, cuts)
    signals = np.empty((len(source), len(view.channels)), np.float32)
    for a, b, goes_on in zip(starts, np.append(starts[1:], len(source)), going_on, strict=True):
        half = (b - a) // 2 if goes_on else 0
        if goes_on:
            signals[a : a + half] = signals[a - half : a]
        else:
            viewer = Viewer(view, recording.rate)
        signals[a + half : b] = viewer(source[a + half : b])
    return dataclasses.replace(recording, signals=signals, channels=view.channels)


def continued(signals: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Returns (s,) whether each stretch begins with the second half of the one before; all have one even length."""
    lengths = np.diff(starts, append=len(signals))
    if len(starts) < 2 or lengths[0] % 2 or np.any(lengths != lengths[0]):
        return np.zeros(len(starts), bool)
    halves = signals.reshape(len(starts), 2, -1)
    return np.append(False, np.all(halves[:-1, 1] == halves[1:, 0], axis=1))


class View(NamedTuple):
    """The computation of the channels of a view from those of a recording."""

    inputs: list[int]  # indices of the channels that it reads
    channels: tuple[Channel, ...]  # the channels that it computes
    filtered: list[int]  # indices, among those that it reads, of the accelerations whose gravity it needs
    # function of the (t, i) signals of the inputs and the (t, f) gravity that returns (t, c) signals
    compute: Callable[[np.ndarray, np.ndarray], np.ndarray]


def make_view(channels: Sequence[Channel], name: str) -> View:
    """Makes a view of recordings with these channels.

    - `raw`: the channels as they are.
    - `derived`: two channels more for every acceleration, its `gravity` and the `residual`.
    - `mirror`: every acceleration twice, the copy in the group `mirror`.
    - `axis`: the channels as they are, in groups that are the axes x, y and z.
    - `body`: a channel `body_X` for every `total_X`, which is what remains of it without gravity; published channels
      of that name are not read. The filter is that of Anguita et al. 2013, whose `body_acc` of UCI-HAR it gives.
    - `vertical`: in place of every vector, its vertical component and the length of its horizontal part, whatever the
      orientation of the device (Mizell 2003; Yang 2009), see `vertical_view`.

    Raises:
      ConfigError: an unknown view, or channels from which it cannot be computed.
    """
    if name not in VIEWS:
        raise ConfigError(f"data.view={name!r} is not one of {', '.join(VIEWS)}")
    every = list(range(len(channels)))
    if name == "raw":
        return View(every, tuple(channels), [], lambda signals, _: signals)
    source = [i for i, channel in enumerate(channels) if channel.group == "acc"]
    if not source:
        raise ConfigError(f"data.view={name!r} needs channels of the group 'acc'; there are none in this data set")
    if name == "axis":
        return View(every, tuple(map(group_by_axis, channels)), [], lambda signals, _: signals)
    if name == "body":
        return body_view(channels)
    if name == "vertical":
        return vertical_view(channels)
    added = ("mirror",) if name == "mirror" else ("gravity", "residual")
    more = [channels[i]._replace(name=f"{group}_{channels[i].name}", group=group) for group in added for i in source]

    def compute(signals: np.ndarray, gravity: np.ndarray) -> np.ndarray:
        accelerations = signals[:, source]
        columns = [accelerations] if name == "mirror" else [gravity, accelerations - gravity]
        return np.concatenate([signals, *columns], axis=1)

    return View(every, (*channels, *more), [] if name == "mirror" else source, compute)


def body_view(channels: Sequence[Channel]) -> View:
    """Makes the view `body`, whose channels follow the last of those that they are computed from."""
    computed = {f"{BODY}{channel.name.removeprefix(TOTAL)}" for channel in channels if channel.name.startswith(TOTAL)}
    if not computed:
        raise ConfigError(
            f"data.view='body' needs channels {TOTAL}X, from which it computes {BODY}X; here are "
            f"{', '.join(channel.name for channel in channels)}"
        )
    inputs = [i for i, channel in enumerate(channels) if channel.name not in computed]
    kept = [channels[i] for i in inputs]
    source = [i for i, channel in enumerate(kept) if channel.name.startswith(TOTAL)]
    end = source[-1] + 1
    bodies = [kept[i]._replace(name=f"{BODY}{kept[i].name.removeprefix(TOTAL)}") for i in source]

    def compute(signals: np.ndarray, gravity: np.ndarray) -> np.ndarray:
        return np.concatenate([signals[:, :end], signals[:, source] - gravity, signals[:, end:]], axis=1)

    return View(inputs, (*kept[:end], *bodies, *kept[end:]), source, compute)


def vertical_view(channels: Sequence[Channel]) -> View:
    """Makes the view `vertical`, which replaces each vector by two channels, at the place of the vector's first.

    With the gravity g that its device's accelerometer measures, see `LowPass`, a vector x has the vertical component
    v = x . g / |g| and a horizontal part of length |x - v g / |g||. Mizell 2003 uses the mean of a stretch instead of
    the low-pass filter, and Yang 2009 uses these two components of the acceleration as features. Both are
    invariant under rotations of the device. Where g is 0, so is v. Channels that are part of no vector are kept.

    D. Mizell 2003, Using gravity to estimate accelerometer orientation, ISWC. J. Yang 2009, Toward physical activity
    diary: motion recognition using simple acceleration features with mobile phones, IMCE.

    Raises:
      ConfigError: a device without an accelerometer, or a channel that depends on the orientation and is no part of a
        vector, as an angle or a single axis.
    """
    vectors = vectors_of(channels)
    if not vectors:
        raise ConfigError(
            f"data.view='vertical': no three of the channels {', '.join(c.name for c in channels)} are named ..x, ..y, "
            "..z and have one device and unit"
        )
    check_loose_axes(channels, "data.view='vertical'")
    among = {i for vector in vectors for i in vector.axes}
    of_first = {vector.axes[0]: vector for vector in vectors}
    made: list[Channel] = []
    for i, channel in enumerate(channels):
        if i in of_first:
            stem = channel.name[:-1].rstrip("_")
            made += [channel._replace(name=f"{stem}_{part}".lstrip("_")) for part in ("vertical", "horizontal")]
        elif i not in among:
            made.append(channel)
    filtered = sorted({i for vector in vectors for i in vector.gravity})

    def compute(signals: np.ndarray, gravity: np.ndarray) -> np.ndarray:
        columns: list[np.ndarray] = []
        for i in range(len(channels)):
            if i in of_first:
                columns += vertical_parts(
                    signals[:, of_first[i].axes], gravity[:, [filtered.index(k) for k in of_first[i].gravity]]
                )
            elif i not in among:
                columns.append(signals[:, i])
        return np.stack(columns, axis=1).astype(np.float32)

    return View(list(range(len(channels))), tuple(made), filtered, compute)


class Vector(NamedTuple):
    """The (x, y, z) channels of a vector, and those of the acceleration of its device that holds gravity."""

    axes: Triple
    gravity: Triple


def vectors_of(channels: Sequence[Channel]) -> list[Vector]:
    """Returns all vectors of the view `vertical`.

    Raises:
      ConfigError: a device has no accelerometer.
    """
    devices = devices_of(channels)
    gravities = accelerations_of(channels, devices, "data.view='vertical'", "leave its channels out by data.channels")
    return [Vector(axes, gravity) for axes_of, gravity in zip(devices, gravities, strict=True) for axes in axes_of]


def vertical_parts(vectors: np.ndarray, gravity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the (t,) vertical components and the (t,) horizontal lengths of (t, 3) vectors, see `vertical_view`."""
    x, y, z = vectors.T.astype(np.float64)
    a, b, c = gravity.T.astype(np.float64)
    length = np.sqrt(a * a + b * b + c * c)
    length[length == 0] = 1
    a, b, c = a / length, b / length, c / length
    vertical = x * a + y * b + z * c
    x, y, z = x - vertical * a, y - vertical * b, z - vertical * c
    return vertical, np.sqrt(x * x + y * y + z * z)


class Viewer:
    """Computes a view in one contiguous stretch, from samples in portions of any size."""

    def __init__(self, view: View, rate: float) -> None:
        """Starts a stretch of samples at this rate per second."""
        self._view = view
        self._low_pass = LowPass(rate) if view.filtered else None

    def __call__(self, signals: np.ndarray) -> np.ndarray:
        """Computes the (t, c) float32 channels of the view from the next (t, i) signals of its inputs."""
        if not len(signals):
            return np.zeros((0, len(self._view.channels)), np.float32)
        gravity = self._low_pass(signals[:, self._view.filtered]) if self._low_pass else signals[:, :0]
        return self._view.compute(signals, gravity)


def group_by_axis(channel: Channel) -> Channel:
    """Returns the channel in the group of its axis, which is the last letter of its name.

    Raises:
      ConfigError: its name does not end with x, y or z.
    """
    axis = channel.name[-1:].lower()
    if axis not in ("x", "y", "z"):
        raise ConfigError(f"data.view='axis': the name of channel {channel.name!r} does not end with its axis")
    return channel._replace(group=axis)


def interval_cuts(intervals: Iterable[Interval], recording: int) -> list[int]:
    """Returns all bounds of the intervals of a recording, across which no filter may run."""
    return sorted({at for i, *bounds in intervals if i == recording for at in bounds})
