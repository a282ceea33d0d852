"""PAMAP2: 9 subjects, inertial units on hand, chest and ankle, 100 Hz, 18 activities of daily life and sport.

Reiss and Stricker 2012. A file per subject in Protocol, and for five of them in Optional; 54 columns separated by
blanks: seconds, activity, heart rate, and 17 columns for each unit. The orientation (the publisher: invalid in this
collection) and the temperatures are not read.

Missing values, where the radio lost packets, are a literal NaN: linear between their neighbours within the file, the
nearest value at its beginning and end, 0 in a channel without any value. Activity 0 is transient, and unlabelled here.
A step in time of more than one and a half samples, or backwards, begins a new stretch.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dcdp_jax.data.readers.published import PAMAP2 as PUBLISHED
from dcdp_jax.data.readers.reading import Reading, absent, altered, found, listed, shortage, values_missing
from dcdp_jax.data.readers.text import codes_to_labels, fill_missing, read_columns, stretch_starts
from dcdp_jax.data.recording import UNLABELLED, Channel, Recording
from dcdp_jax.data.source import Archive, Source
from dcdp_jax.errors import DataError

RATE = 100.0
COLUMNS = 54
TIME, ACTIVITY, HEART_RATE = 0, 1, 2
# The 12 of the protocol come first, then the 6 that only the folder Optional has.
ACTIVITIES = {
    1: "lying",
    2: "sitting",
    3: "standing",
    4: "walking",
    5: "running",
    6: "cycling",
    7: "nordic_walking",
    12: "ascending_stairs",
    13: "descending_stairs",
    16: "vacuum_cleaning",
    17: "ironing",
    24: "rope_jumping",
    9: "watching_tv",
    10: "computer_work",
    11: "car_driving",
    18: "folding_laundry",
    19: "house_cleaning",
    20: "playing_soccer",
}
CLASS_NAMES = tuple(ACTIVITIES.values())
PROTOCOL_CLASS_NAMES = CLASS_NAMES[:12]
SITES = ("hand", "chest", "ankle")
SIGNALS = (("acc16", "acc", "m/s^2"), ("acc6", "acc", "m/s^2"), ("gyro", "gyro", "rad/s"), ("mag", "mag", "uT"))
CHANNELS = tuple(
    Channel(f"{site}_{signal}_{axis}", group, site, unit)
    for site in SITES
    for signal, group, unit in SIGNALS
    for axis in "xyz"
)
# A unit's 17 columns: temperature, the twelve signals, orientation.
CHANNEL_COLUMNS = tuple(3 + 17 * unit + 1 + signal for unit in range(3) for signal in range(12))
HEART_RATE_CHANNEL = Channel("heart_rate", "heart_rate", "chest", "bpm")
SOURCE = Source(
    dataset="pamap2",
    folder="PAMAP2_Dataset",
    files=(),
    pattern="[PO]*/subject10[1-9].dat",
    archives=("pamap2+physical+activity+monitoring.zip", "PAMAP2_Dataset.zip"),
    download=Archive(
        url="https://archive.ics.uci.edu/static/public/231/pamap2+physical+activity+monitoring.zip",
        name="pamap2+physical+activity+monitoring.zip",
        size=690_000_000,
        sha256=None,
        unpacked_limit=5 << 30,
    ),
)
PROTOCOL_ROWS = 2_872_533


def read(folder: Path, *, heart_rate: bool = False) -> Reading:
    """Reads the publisher's folder.

    Args:
      folder: the one that holds Protocol, or Optional, or both.
      heart_rate: whether to read the heart rate as a 37th channel; it is measured at 9 Hz, and filled in between.

    Returns:
      One recording per file, in order of subject; its run is Protocol or Optional, its subject 101 to 109.

    Raises:
      DataError: a file is damaged.
    """
    recordings, notes, files, lacking = [], [], [], []
    for path in sorted(listed(folder, SOURCE.pattern), key=lambda path: (path.name, path.parent.name != "Protocol")):
        match = re.fullmatch(r"(Protocol|Optional)/subject(\d+)\.dat", path.relative_to(folder).as_posix())
        if match is None:
            raise DataError(f"{path}: expected the folders Protocol and Optional")
        recording, missing = read_file(path, int(match[2]), match[1], heart_rate)
        recordings.append(recording)
        lacking.append(missing)
        files.append(match[0])
        notes.append(f"{match[0]}: {missing.sum():,} missing values filled, {len(recording.starts) - 1} gaps in time")
    return Reading(
        recordings,
        [found(recordings, CLASS_NAMES), *notes],
        [*shortfall(recordings), *altered(folder, files, PUBLISHED)],
        values_missing(recordings, lacking),
    )


def read_file(path: Path, subject: int, run: str, heart_rate: bool) -> tuple[Recording, np.ndarray]:
    """One recording, and (c,) how many values of each channel were missing."""
    columns = (*CHANNEL_COLUMNS, HEART_RATE) if heart_rate else CHANNEL_COLUMNS
    signals, exact = read_columns(path, COLUMNS, columns, (TIME, ACTIVITY), missing=True)
    time, activity = exact.T
    missing = fill_missing(signals, leading="nearest")
    codes = {0: UNLABELLED} | {code: index for index, code in enumerate(ACTIVITIES)}
    recording = Recording(
        signals=signals,
        labels=codes_to_labels(path, activity, codes),
        subject=subject,
        run=run,
        rate=RATE,
        channels=(*CHANNELS, HEART_RATE_CHANNEL) if heart_rate else CHANNELS,
        starts=stretch_starts(path, time, 1.5 / RATE),
    )
    return recording, missing


def shortfall(recordings: Sequence[Recording]) -> list[str]:
    """In what these recordings fall short of the published ones."""
    names = [f"{r.run}/subject{r.subject}.dat" for r in recordings]
    rows = sum(len(r.labels) for r in recordings if r.run == "Protocol")
    return absent("files", names, list(PUBLISHED)) + shortage("rows of the protocol", rows, PROTOCOL_ROWS)
