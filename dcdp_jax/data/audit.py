"""Proves at every run that the splits are separate."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from dcdp_jax.data.protocols import Protocol
from dcdp_jax.data.recording import Recording
from dcdp_jax.data.windows import WindowIndex
from dcdp_jax.errors import DataError


def audit(
    recordings: Sequence[Recording], protocol: Protocol, windows: dict[str, WindowIndex], window: int
) -> None:
    """Checks the windows that training will use, not the intentions of the protocol.

    Args:
      recordings: the data.
      protocol: how it was divided.
      windows: {split: its windows}.
      window: samples per window.

    Raises:
      DataError: two splits share a raw sample, or a subject where the protocol is by subject; the message names
        the splits and the recording or subjects.
    """
    for a, b in combinations(windows, 2):
        for number in set(windows[a].recording) & set(windows[b].recording):
            used = [
                covered_samples(windows[split], number, window, len(recordings[number].labels)) for split in (a, b)
            ]
            shared = np.flatnonzero(used[0] & used[1])
            if shared.size:
                recording = recordings[number]
                raise DataError(
                    f"protocol {protocol.name}: {a} and {b} share {shared.size} samples of subject "
                    f"{recording.subject}, run {recording.run}, from sample {shared[0]} on"
                )
        if protocol.by_subject:
            subjects = [{recordings[i].subject for i in set(windows[split].recording)} for split in (a, b)]
            if both := subjects[0] & subjects[1]:
                raise DataError(f"protocol {protocol.name}: {a} and {b} share the subjects {sorted(both)}")


def covered_samples(windows: WindowIndex, recording: int, window: int, length: int) -> np.ndarray:
    """Which samples of a recording lie in a window: (length,) bool."""
    starts = windows.start[windows.recording == recording]
    steps = np.zeros(length + 1, np.int64)
    np.add.at(steps, starts, 1)
    np.add.at(steps, starts + window, -1)
    return np.cumsum(steps[:-1]) > 0
