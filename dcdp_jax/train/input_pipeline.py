"""Batches of training windows, gathered on the device or streamed from the host.

A device to which windows are streamed receives them concatenated, like recordings, with `starts` that point into them.
The steps are therefore the same in both cases, and so are the results.
"""

import dataclasses
from collections import deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.config import BALANCED
from dcdp_jax.data.dataset import Dataset, Split
from dcdp_jax.train.devices import Devices
from dcdp_jax.train.step import HeldOut, Signals

AHEAD = 2  # number of dispatches sent to the devices before they are needed
STARTS_STREAM = 1  # keeps the random starts of an epoch apart from its shuffle


def windows_of_epoch(split: Split, config: ConfigDict, epoch: int) -> Split:
    """Returns the training set with the starts of its windows in an epoch, a function of (seed, epoch).

    The starts are uniform between the bounds of each window. Without bounds, the training set itself is returned.
    """
    if split.bounds is None:
        return split
    rng = np.random.default_rng((config.seed, epoch, STARTS_STREAM))
    starts = rng.integers(split.bounds[:, 0], split.bounds[:, 1], dtype=np.int32, endpoint=True)
    return dataclasses.replace(split, starts=starts)


def shuffled_rows(split: Split, config: ConfigDict, epoch: int, steps: int) -> np.ndarray:
    """Returns the windows (steps, b) of each batch of an epoch, a function of (seed, epoch).

    With `train.sampling=shuffle` they are a shuffle of all windows without the incomplete last batch. With `balanced`
    they are as many windows, see `balanced_rows`.
    """
    rng, windows = np.random.default_rng((config.seed, epoch)), steps * config.train.batch_size
    balanced = config.train.sampling == BALANCED
    order = balanced_rows(rng, split.labels, windows) if balanced else rng.permutation(len(split.labels))[:windows]
    return order.reshape(steps, config.train.batch_size)


def balanced_rows(rng: np.random.Generator, labels: np.ndarray, windows: int) -> np.ndarray:
    """Draws (windows,) indices into (n,) labels in random order, with every class that occurs equally often.

    The counts of two classes differ by one at most, and so do the counts of two windows of a class. A class with fewer
    windows than its share repeats them; a class with more leaves out a random part.
    """
    classes = np.unique(labels)
    share, left = divmod(windows, len(classes))
    chosen = []
    for label, more in zip(classes, rng.permutation(len(classes)) < left, strict=True):
        rows = np.flatnonzero(labels == label)
        shuffles = np.tile(rows, (-(-(share + more) // len(rows)), 1))
        chosen.append(rng.permuted(shuffles, axis=1).reshape(-1)[: share + more])
    return rng.permutation(np.concatenate(chosen))


def batches_of(split: Split, rows: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """Returns the next n batches of rows (steps, b) of the training set in an epoch, for `train_steps`.

    These are `starts` and `labels` (b, n), with the last batch repeated if fewer than n are left, and `count` (b,).
    """
    count = min(size, len(rows))
    chosen = np.pad(rows[:count], ((0, size - count), (0, 0)), mode="edge").T
    return {
        "starts": split.starts[chosen],
        "labels": split.labels[chosen],
        "count": np.full(len(chosen), count, np.int32),
    }


def joint_batches(
    splits: Mapping[int, Split], rows: Mapping[int, np.ndarray], size: int, places: int, divide_seeds: bool
) -> dict[str, np.ndarray]:
    """Returns the next n batches for `train_seeds`, or with divide_seeds for `train_divided_seeds`.

    Args:
      splits: {place: training set in the epoch} of the active seeds.
      rows: {place: (steps, b) rows of the remaining batches} of these seeds.
      size: n, number of batches in one dispatch.
      places: number of states, including those of seeds that are not active.
      divide_seeds: whether the devices divide the seeds, and not the batch.
    """
    found = {place: batches_of(splits[place], left, size) for place, left in rows.items()}
    some = next(iter(found.values()))
    each: Sequence[dict[str, np.ndarray]] = [found.get(place, some) for place in range(places)]
    axis = 0 if divide_seeds else 1
    batches = {name: np.stack([batch[name] for batch in each], axis) for name in ("starts", "labels")}
    active = np.isin(np.arange(places), list(found))
    batches["active"] = np.stack([active] * len(some["count"]), 1 - axis)
    batches["count"] = np.full(places, some["count"][0]) if divide_seeds else some["count"]
    return batches


def place_signals(dataset: Dataset, devices: Devices, stream: bool, heldout: Split | None = None) -> Signals:
    """Puts the recordings on every device, or with `stream` leaves them on the host.

    `heldout` are windows for `modulation.confidence=heldout`, which no stream has.

    Raises:
      ConfigError: the recordings do not fit on a device.
    """
    shift, scale = devices.replicate(tuple(dataset.normalizer))
    if stream:
        return Signals(dataset.signals, shift, scale)
    devices.check_room(dataset.signals.nbytes, "data.stream=False puts all recordings", "--config.data.stream=True")
    held = HeldOut(*devices.replicate((heldout.starts, heldout.labels))) if heldout else None
    return Signals(devices.share(dataset.signals), shift, scale, held)


def is_streamed(signals: Signals) -> bool:
    """Returns whether the recordings are on the host."""
    return isinstance(signals.values, np.ndarray)


def divided(signals: Signals) -> Any:
    """Returns which of the signals that `feed` yields are divided among the devices, see `Devices.map_step`."""
    return Signals._make((True, False, False, None)) if is_streamed(signals) else False


def feed(
    signals: Signals, batches: Iterable[Mapping[str, np.ndarray]], window: int, devices: Devices
) -> Generator[tuple[Signals, dict[str, Any]], None, None]:
    """Yields the signals and the batch that a step mapped with `divided` takes, for each dispatch.

    Streamed windows are sent while earlier steps are computed. The batches are global, with `starts` (b, ...) or, if
    the devices divide the seeds, (s, ...).
    """
    if not is_streamed(signals):
        for batch in batches:
            yield signals, devices.shard(batch)
        return
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="feed") as thread:
        sent: deque[Future[tuple[Signals, dict[str, Any]]]] = deque()
        for batch in batches:
            sent.append(thread.submit(send, signals, batch, window, devices))
            if len(sent) > AHEAD:
                yield sent.popleft().result()
        while sent:
            yield sent.popleft().result()


def send(
    signals: Signals, batch: Mapping[str, np.ndarray], window: int, devices: Devices
) -> tuple[Signals, dict[str, Any]]:
    """Gathers the windows of a global batch and sends each device its share."""
    starts, channels = batch["starts"], signals.values.shape[1]
    # In this view a window is one contiguous row, which NumPy copies at once.
    pieces = np.lib.stride_tricks.sliding_window_view(signals.values.reshape(-1), window * channels)[::channels]
    values = pieces[starts.reshape(-1)].reshape(-1, channels)
    first = np.arange(starts.size, dtype=starts.dtype).reshape(starts.shape) * window
    local = {"starts": first % (len(values) // len(devices)), "values": values}
    shares = devices.shard_ahead({**batch, **local})
    return signals._replace(values=shares.pop("values")), shares
