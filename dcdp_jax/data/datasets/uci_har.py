"""UCI-HAR: 30 subjects, a phone at the waist, 50 Hz, published as windows of 128 samples with 50 % overlap.

Anguita et al. 2013. Nine signals, one text file each, a window a line. Accelerations in g, angular rate in rad/s.
`body_acc` is `total_acc` without what a causal third-order Butterworth low-pass filter at 0.3 Hz lets through, as
`data.view=body` computes it.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dcdp_jax.data.completeness import described, shortage
from dcdp_jax.data.download import Source
from dcdp_jax.data.protocols import COMMON, fixed
from dcdp_jax.data.recording import Channel, Recording, Recordings
from dcdp_jax.data.spec import DatasetSpec
from dcdp_jax.data.text import read_codes, read_columns
from dcdp_jax.errors import DataError

CLASS_NAMES = ("walking", "walking_upstairs", "walking_downstairs", "sitting", "standing", "laying")
RATE = 50.0
WINDOW = 128
SUBJECTS = 30
WINDOWS = (1722, 1544, 1406, 1777, 1906, 1944)
TEST_SUBJECTS = (2, 4, 9, 10, 12, 13, 18, 20, 24)
OFFICIAL = fixed("official", (7, 22), TEST_SUBJECTS, "training subjects 7 and 22 validate")
SIGNALS = tuple(
    (Channel(f"{signal}_{axis}", group, "waist", unit), f"{file}_{axis}")
    for signal, group, unit, file in (
        ("total_acc", "acc", "g", "total_acc"),
        ("body_acc", "acc", "g", "body_acc"),
        ("gyro", "gyro", "rad/s", "body_gyro"),
    )
    for axis in "xyz"
)
CHANNELS = tuple(channel for channel, _ in SIGNALS)
SOURCE = Source(
    dataset="uci_har",
    folder="UCI HAR Dataset",
    files=tuple(
        f"{split}/{name}_{split}.txt"
        for split in ("train", "test")
        for name in ("y", "subject", *(f"Inertial Signals/{file}" for _, file in SIGNALS))
    ),
    alternative="UCI HAR Dataset.zip",
    url="https://archive.ics.uci.edu/static/public/240/human+activity+recognition+using+smartphones.zip",
    size=61_005_872,
    sha256="c00b803081a5c797cd5e4b83700a9810b38d53d9d84e01917e090e1fdbc81031",
    unpacked_limit=1 << 30,
)


def read(folder: Path) -> Recordings:
    """Returns one recording per split and subject, in order of subject; its run is the publisher's split.

    Every published window is a contiguous stretch of its own: consecutive ones overlap, so their samples stand twice.
    """
    recordings = [recording for split in ("train", "test") for recording in read_split(folder / split, split)]
    recordings.sort(key=lambda r: r.subject)
    return described(recordings, CLASS_NAMES, shortfall(recordings))


def read_split(folder: Path, split: str) -> list[Recording]:
    """Reads one recording per subject from the publisher's `train` or `test`."""
    subjects = read_codes(folder / f"subject_{split}.txt", (SUBJECTS,), ("subject",))[:, 0]
    labels = read_codes(folder / f"y_{split}.txt", (len(CLASS_NAMES),), ("label",))[:, 0] - 1
    signals = []
    for _, file in SIGNALS:
        path = folder / "Inertial Signals" / f"{file}_{split}.txt"
        table, _ = read_columns(path, WINDOW, range(WINDOW), aligned=True)
        if len(table) != len(subjects):
            raise DataError(f"{path}: {len(table)} windows, but subject_{split}.txt has {len(subjects)}")
        signals.append(table)
    if len(labels) != len(subjects):
        raise DataError(
            f"{folder / f'y_{split}.txt'}: {len(labels)} labels, but subject_{split}.txt has {len(subjects)}"
        )
    windows = np.stack(signals, axis=-1)
    return [
        Recording(
            signals=windows[rows].reshape(-1, len(CHANNELS)),
            labels=np.repeat(labels[rows], WINDOW).astype(np.int32),
            subject=subject,
            run=split,
            rate=RATE,
            channels=CHANNELS,
            starts=np.arange(np.count_nonzero(rows), dtype=np.int64) * WINDOW,
        )
        for subject in np.unique(subjects).tolist()
        for rows in [subjects == subject]
    ]


def shortfall(recordings: Sequence[Recording]) -> list[str]:
    """Returns how these recordings fall short of the published ones, one sentence each."""
    notes = shortage("subjects", len({r.subject for r in recordings}), SUBJECTS)
    counts = sum(np.bincount(r.labels[r.starts], minlength=len(CLASS_NAMES)) for r in recordings)
    for name, count, published in zip(CLASS_NAMES, np.asarray(counts).tolist(), WINDOWS, strict=True):
        notes += shortage(f"windows of {name}", count, published)
    return notes


def read_one(path: Path) -> list[Recording] | None:
    """Reads all subjects of the publisher's `train` or `test` from any of its files."""
    match = re.search(r"/(train|test)/(Inertial Signals/)?\w+_\1\.txt$", path.absolute().as_posix())
    if match is None:
        return None
    folder = next(parent for parent in path.absolute().parents if parent.name == match[1])
    return read_split(folder, match[1])


DATASET = DatasetSpec(
    version="1.1.0",
    class_names=CLASS_NAMES,
    channels=CHANNELS,
    rate=RATE,
    source=SOURCE,
    read=read,
    read_one=read_one,
    example="test/y_test.txt",
    protocols={"official": OFFICIAL, **COMMON},
    mirror={"waist": "y"},  # the phone's x axis is vertical, z is normal to its screen
    samples_note="The publisher's windows overlap by half, so that most samples count twice here.",
)
