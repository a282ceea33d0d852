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

from dcdp_jax.data.completeness import find_data_files, gather, missing_names, shortage
from dcdp_jax.data.download import Source
from dcdp_jax.data.protocols import fixed, leave_one_subject_out, random_windows, subject_groups
from dcdp_jax.data.recording import UNLABELLED, Channel, Recording, Recordings
from dcdp_jax.data.spec import DatasetSpec, Task
from dcdp_jax.data.text import codes_to_labels, fill_missing, read_columns, stretch_starts
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
    pattern="[PO]*/subject10[1-9].dat",
    alternative="PAMAP2_Dataset.zip",
    url="https://archive.ics.uci.edu/static/public/231/pamap2+physical+activity+monitoring.zip",
    size=690_000_000,
    unpacked_limit=5 << 30,
)
# Size in bytes and SHA-256 of the data files as the publisher ships them.
PUBLISHED = {
    "Optional/subject101.dat": (121_246_257, "a8b71371406001ae563acad1d7d946ceacd0afeb51b97bfb9a9cbad95c78e52c"),
    "Optional/subject105.dat": (72_521_536, "a7c4ccd8d7e8fe21abad8c111229649ec10ca9b353cc29fcc4986c2243301adc"),
    "Optional/subject106.dat": (60_905_306, "50882fc519f01e8fe200a5a4373daff443e88624d7e8a2d31d759569823fb491"),
    "Optional/subject108.dat": (85_403_002, "e871b2e5692867f8655b69b769e866927739aa288b9da5cc9a15dc930f154336"),
    "Optional/subject109.dat": (90_594_049, "a6a8f7521d63fe80bd7f203c5ee1256a2bc8b3772f028ae767256ec1d6a93930"),
    "Protocol/subject101.dat": (141_698_539, "80b3fffd089c236ae88098df3b906b8d3c67a858023fe4f75045d78612147266"),
    "Protocol/subject102.dat": (207_349_310, "468f3c6ba3e6e961f383783665265afbcddbbd33a3a84bba0386b7d0d4e3c632"),
    "Protocol/subject103.dat": (117_863_364, "5be64631d085e3efc700728395516da3512ff9de17dab30d253508441a98d3f0"),
    "Protocol/subject104.dat": (153_227_482, "7eb272213cbfe11d9e466a2163b6c9c2ed8d2542fc6f08283fd1bf222cac8994"),
    "Protocol/subject105.dat": (173_773_599, "7837cfede57fe45ec20d553c6c2b0c498ab324daae23bfd202c0ffea9f71a7f6"),
    "Protocol/subject106.dat": (168_263_273, "0da1dda3fa56d75d6413fc9198949d3ebc2102d77574cb5fe0739674687609f2"),
    "Protocol/subject107.dat": (145_823_268, "a02195e9599eb249f79103912d27eb4f62d8a0f59e4763b0dd8250fee5f3f020"),
    "Protocol/subject108.dat": (190_019_653, "81ce6b21b9c1e01dc02099c4f9387699547b08b28b387d09a56e0cb0a8af22fc"),
    "Protocol/subject109.dat": (3_891_140, "5109d5cd8334769566b4ae602adf3e5f4bb7b9ee8ca678f0c481d333114b07c7"),
}
PROTOCOL_ROWS = 2_872_533


def read(folder: Path, *, heart_rate: bool = False) -> Recordings:
    """Returns one recording per file, in order of subject; its run is Protocol or Optional, its subject 101 to 109.

    Args:
      folder: the one that holds Protocol, or Optional, or both.
      heart_rate: whether to read the heart rate as a 37th channel; it is measured at 9 Hz, and filled in between.
    """
    files = {}
    paths = find_data_files(folder, SOURCE.pattern)
    for path in sorted(paths, key=lambda path: (path.name, path.parent.name != "Protocol")):
        match = re.fullmatch(r"(Protocol|Optional)/subject(\d+)\.dat", path.relative_to(folder).as_posix())
        if match is None:
            raise DataError(f"{path}: expected the folders Protocol and Optional")
        files[match[0]] = read_file(path, int(match[2]), match[1], heart_rate)
    return gather(folder, files, CLASS_NAMES, PUBLISHED, shortfall)


def read_file(path: Path, subject: int, run: str, heart_rate: bool = False) -> tuple[Recording, np.ndarray]:
    """Reads one recording; returns it and the (c,) number of missing values of each channel."""
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
    """Returns how these recordings fall short of the published ones, one sentence each."""
    names = [f"{r.run}/subject{r.subject}.dat" for r in recordings]
    rows = sum(len(r.labels) for r in recordings if r.run == "Protocol")
    return missing_names("files", names, list(PUBLISHED)) + shortage("rows of the protocol", rows, PROTOCOL_ROWS)


def read_one(path: Path) -> list[Recording] | None:
    """Reads the recording of one file."""
    match = re.search(r"/(Protocol|Optional)/subject(\d+)\.dat$", path.absolute().as_posix())
    return [read_file(path, int(match[2]), match[1])[0]] if match else None


DATASET = DatasetSpec(
    class_names=CLASS_NAMES,
    channels=CHANNELS,
    rate=RATE,
    source=SOURCE,
    read=read,
    read_one=read_one,
    example="Protocol/subject101.dat",
    protocols={
        "paper": fixed("paper", (106,), (105,), "the paper names no validation set: subject 106 validates"),
        "standard": fixed("standard", (105,), (106,)),
        "loso": leave_one_subject_out(left_out=(109,)),
        "groups": subject_groups(left_out=(109,)),
        "random": random_windows,
    },
    tasks={"": Task("", CLASS_NAMES, "", PROTOCOL_CLASS_NAMES)},
)
