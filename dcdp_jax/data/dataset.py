"""All of the data part, from a config to arrays that are ready for the device."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.data.audit import audit
from dcdp_jax.data.load import class_names, load_recordings
from dcdp_jax.data.normalize import Normalizer, fit_normalizer
from dcdp_jax.data.protocols import divide
from dcdp_jax.data.recording import Channel, Recording, fingerprint
from dcdp_jax.data.windows import WindowIndex, index_windows
from dcdp_jax.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Split:
    """Windows of one part.

    Attributes:
      starts: (n,) int32 first sample of each window in `Dataset.signals`.
      labels: (n,) int32 class index.
      subjects: (n,) int32.
    """

    starts: np.ndarray
    labels: np.ndarray
    subjects: np.ndarray


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Recordings end to end, the windows of each part as indices into them, and what to call things.

    Attributes:
      signals: (t, c) float32, all recordings one after the other, not normalised.
      splits: {train, validation, test: Split}.
      window: samples per window.
      normalizer: statistics of the training part.
      class_names: k names.
      channels: c of them.
      marks: any of synthetic, leaky, incomplete.
      fingerprint: of the recordings, see `recording.fingerprint`.
    """

    signals: np.ndarray
    splits: Mapping[str, Split]
    window: int
    normalizer: Normalizer
    class_names: tuple[str, ...]
    channels: tuple[Channel, ...]
    marks: tuple[str, ...]
    fingerprint: str


def select_channels(channels: Sequence[Channel], selectors: Sequence[str], field: str) -> tuple[int, ...]:
    """Indices of the channels that are named, or whose group is.

    Args:
      channels: all there are.
      selectors: channel or group names.
      field: the config field that they come from, for the error.

    Returns:
      Ascending indices.

    Raises:
      ConfigError: a selector that matches nothing, or no channel at all.
    """
    for selector in selectors:
        if not any(selector in (c.name, c.group) for c in channels):
            groups = sorted({c.group for c in channels})
            raise ConfigError(f"{field}: no channel or group {selector!r}; the groups are {', '.join(groups)}")
    chosen = tuple(i for i, c in enumerate(channels) if c.name in selectors or c.group in selectors)
    if not chosen:
        raise ConfigError(f"{field}: an empty channel group")
    return chosen


def build_dataset(config: ConfigDict) -> Dataset:
    """Loads, divides, windows, audits and fits the normaliser, in this order.

    Args:
      config: the `data` part of a config.

    Returns:
      `Dataset`.

    Raises:
      ConfigError: a value that cannot be used, as a window longer than the recordings.
      DataError: files that are missing or damaged, or splits that are not separate.
    """
    options = config.synthetic.to_dict() if config.name == "synthetic" else None
    recordings = load_recordings(
        config.name, config.raw_dir, cache_dir=config.cache_dir, synthetic_options=options
    )
    protocol = divide(config.name, config.protocol, recordings)
    windows = {
        split: index_windows(recordings, intervals, config.window, config.step, config.label_rule)
        for split, intervals in protocol.intervals.items()
    }
    for split, index in windows.items():
        if len(index.label) == 0:
            raise ConfigError(
                f"data.window={config.window}: no window fits into the {split} part of protocol {protocol.name}; "
                f"the longest contiguous stretch of the data has {longest_stretch(recordings)} samples"
            )
    audit(recordings, protocol, windows, config.window)
    return Dataset(
        signals=np.concatenate([r.signals for r in recordings]),
        splits={split: locate(recordings, index) for split, index in windows.items()},
        window=config.window,
        normalizer=fit_normalizer(recordings, protocol.intervals["train"], config.normalize),
        class_names=class_names(config.name),
        channels=recordings[0].channels,
        marks=("synthetic",) if config.name == "synthetic" else (),
        fingerprint=fingerprint(recordings),
    )


def longest_stretch(recordings: Sequence[Recording]) -> int:
    """Samples of the longest stretch without a gap."""
    return max(int(np.diff(np.append(r.starts, len(r.labels))).max()) for r in recordings)


def locate(recordings: Sequence[Recording], index: WindowIndex) -> Split:
    """Turns (recording, start) into positions in the concatenated signals."""
    lengths = [len(r.labels) for r in recordings]
    offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    subjects = np.array([r.subject for r in recordings], np.int32)
    return Split(
        starts=(offsets[index.recording] + index.start).astype(np.int32),
        labels=index.label,
        subjects=subjects[index.recording],
    )
