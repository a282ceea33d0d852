"""Random recordings of the shape that each data set has, and how they go through the data part up to the audit."""

from typing import NamedTuple

import numpy as np

from configs import default
from dcdp_jax.data.datasets import DATASETS
from dcdp_jax.data.normalize import Normalizer, covered_samples, fit_normalizer
from dcdp_jax.data.parts import arrange, split_windows
from dcdp_jax.data.pool import Pool, make_pool
from dcdp_jax.data.protocols import Choice, Protocol
from dcdp_jax.data.recording import Channel, Recording, Recordings
from dcdp_jax.data.windows import WindowIndex

RATE = 20.0
CHANNELS = (*(Channel(f"acc_{axis}", "acc", "hip", "g") for axis in "xyz"), Channel("gyro_x", "gyro", "hip", "rad/s"))
CLASSES = 3
ADLS = ("ADL1", "ADL2", "ADL3", "ADL4", "ADL5", "Drill")
NAMES = {
    "opportunity": [(s, run) for s in (1, 2, 3, 4) for run in ADLS],
    "pamap2": [(s, "Protocol") for s in range(101, 110)] + [(101, "Optional")],
    "wisdm": [(s, "1") for s in (1, 2, 5, *range(27, 37))],
    "uci_har": [(s, "1") for s in range(1, 31)],
    "hapt": [(s, f"{s}{run}") for s in range(1, 31) for run in "ab"],
    "dsads": [(s, str(s)) for s in range(1, 9)],
    "mhealth": [(s, "1") for s in range(1, 11)],
    "harth": [(s, "1") for s in (6, 8, 9, 10, *range(12, 30))],
    "motionsense": [(s, f"{s}{run}") for s in range(1, 25) for run in "ab"],
    "usc_had": [(s, f"{s}{run}") for s in range(1, 15) for run in "ab"],
    "realworld": [(s, f"{s}{run}-waist") for s in range(1, 16) for run in "ab"],
    "synthetic": [(s, "1") for s in range(1, 11)],
    "table": [(s, f"{s}{run}") for s in range(1, 6) for run in "ab"],
}
EVERY = [(dataset, protocol) for dataset, spec in DATASETS.items() for protocol in spec.protocols]


def random_recording(rng, subject, run, samples):
    """Stretches of 1 to 90 samples, runs of 1 to 60 of one label or none, noise around the subject's own level."""
    starts = np.cumsum([0, *rng.integers(1, 90, 12)])
    labels = np.repeat(rng.integers(-1, CLASSES, samples), rng.integers(1, 60, samples))[:samples].astype(np.int32)
    signals = rng.normal(rng.normal(0, 3, len(CHANNELS)), 1, (samples, len(CHANNELS))).astype(np.float32)
    return Recording(signals, labels, subject, run, RATE, CHANNELS, starts[starts < samples].astype(np.int64))


def random_recordings(dataset, seed):
    """All recordings that the data set's protocols ask for, with random content."""
    rng = np.random.default_rng(seed)
    # WISDM's protocol `paper` divides what each subject has of each class.
    lengths = (900, 1500) if dataset == "wisdm" else (120, 300)
    return [random_recording(rng, subject, run, int(rng.integers(*lengths))) for subject, run in NAMES[dataset]]


def data_config(dataset, protocol, **fields):
    """The `data` part of a config."""
    data = default.get_config().data
    data.name, data.protocol, data.folds = dataset, protocol, 3  # not all have ten subjects
    for field, value in fields.items():
        data[field] = value
    return data


def pool_of(recordings):
    """Recordings end to end."""
    return make_pool(recordings, sum(len(r.labels) for r in recordings), {})


class Prepared(NamedTuple):
    """What the audit is given."""

    pool: Pool
    protocol: Protocol
    windows: dict[str, WindowIndex]
    window: int
    normalizer: Normalizer
    method: str


def prepare(recordings, data):
    """Divides, pools, windows and fits, as `build_dataset` does."""
    protocol = DATASETS[data.name].divide(
        data.protocol, Recordings(list(recordings), ()), Choice(data.fold, data.folds)
    )
    order, protocol = arrange(protocol)
    pool = pool_of([recordings[i] for i in order])
    windows = split_windows(data, pool, protocol)
    training = covered_samples(windows["train"].start, data.window, len(pool.labels))
    normalizer = fit_normalizer(pool.signals, training, data.normalize)
    return Prepared(pool, protocol, windows, data.window, normalizer, data.normalize)
