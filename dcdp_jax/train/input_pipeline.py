"""How windows reach the devices: gathered there from recordings that lie there, or streamed from the host.

A device that is sent a batch's windows gets them as recordings of their own, end to end, and `starts` that point into
these. So the steps are the same, and so are the numbers.
"""

from collections import deque
from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from dcdp_jax.data.dataset import Dataset
from dcdp_jax.train.devices import Devices
from dcdp_jax.train.step import Signals

AHEAD = 2  # batches that are sent before they are asked for


def place_signals(dataset: Dataset, devices: Devices, stream: bool) -> Signals:
    """The recordings on every device, or with `stream` still on the host.

    Raises:
      ConfigError: they do not fit on a device.
    """
    shift, scale = devices.replicate(tuple(dataset.normalizer))
    if stream:
        return Signals(dataset.signals, shift, scale)
    devices.check_room(dataset.signals.nbytes, "data.stream=False puts all recordings", "--config.data.stream=True")
    return Signals(devices.share(dataset.signals), shift, scale)


def is_streamed(signals: Signals) -> bool:
    """Whether the recordings lie on the host."""
    return isinstance(signals.values, np.ndarray)


def divided(signals: Signals) -> Any:
    """What of the signals that `feed` yields is divided among the devices, see `Devices.map_step`."""
    return Signals._make((True, False, False)) if is_streamed(signals) else False


def feed(
    signals: Signals, batches: Iterable[Mapping[str, np.ndarray]], window: int, devices: Devices
) -> Generator[tuple[Signals, dict[str, Any]], None, None]:
    """Signals and batch of one step after the other; streamed ones are sent while earlier steps are computed.

    Args:
      signals: of `place_signals`.
      batches: global ones, with `starts` (b,) or (b, n).
      window: samples per window.
      devices: that take them.

    Yields:
      What a step mapped with `divided` takes.
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
    """Gathers the windows of a global batch, and puts each device's share of both on it."""
    starts, channels = batch["starts"], signals.values.shape[1]
    # A window is one piece of memory, and is copied as one.
    pieces = np.lib.stride_tricks.sliding_window_view(signals.values.reshape(-1), window * channels)[::channels]
    values = pieces[starts.reshape(-1)].reshape(-1, channels)
    first = np.arange(starts.size, dtype=starts.dtype).reshape(starts.shape) * window
    local = {"starts": first % (len(values) // len(devices)), "values": values}
    shares = devices.shard_ahead({**batch, **local})
    return signals._replace(values=shares.pop("values")), shares
