"""OPPORTUNITY: 4 subjects in a kitchen, body-worn sensors, 30 Hz, 17 gestures and 4 modes of locomotion.

Roggen et al. 2010, Chavarriaga et al. 2013. 24 files of 250 columns separated by blanks: milliseconds, 242 signals, 7
tracks of labels. Read are the 113 channels of the challenge, in the publisher's units, under the publisher's names.

Missing values are a literal NaN: linear between their neighbours within the file, the last value held at its end, 0 at
its beginning and in a channel without any value. Every sample of this data set was annotated, so an unlabelled sample
is the publisher's null class. A step in time of more than one and a half samples, or backwards, begins a new stretch.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dcdp_jax.data.readers.published import OPPORTUNITY as PUBLISHED
from dcdp_jax.data.readers.reading import Reading, absent, altered, found, listed, shortage, values_missing
from dcdp_jax.data.readers.text import codes_to_labels, fill_missing, read_columns, stretch_starts
from dcdp_jax.data.recording import UNLABELLED, Channel, Recording
from dcdp_jax.data.source import Archive, Source
from dcdp_jax.errors import DataError

RATE = 30.0
COLUMNS = 250
TIME, LOCOMOTION, GESTURE = 0, 243, 249
GESTURES = {
    406516: "open_door_1",
    406517: "open_door_2",
    404516: "close_door_1",
    404517: "close_door_2",
    406520: "open_fridge",
    404520: "close_fridge",
    406505: "open_dishwasher",
    404505: "close_dishwasher",
    406519: "open_drawer_1",
    404519: "close_drawer_1",
    406511: "open_drawer_2",
    404511: "close_drawer_2",
    406508: "open_drawer_3",
    404508: "close_drawer_3",
    408512: "clean_table",
    407521: "drink_from_cup",
    405506: "toggle_switch",
}
LOCOMOTIONS = {1: "stand", 2: "walk", 4: "sit", 5: "lie"}
CLASS_NAMES = tuple(GESTURES.values())
TRACK_CLASS_NAMES = {"locomotion": tuple(LOCOMOTIONS.values())}
BLUETOOTH_SITES = ("RKN^", "HIP", "LUA^", "RUA_", "LH", "BACK", "RKN_", "RWR", "RUA^", "LUA_", "LWR", "RH")
UNIT_SITES = ("BACK", "RUA", "RLA", "LUA", "LLA")
# An inertial measurement unit has 13 columns, of which the last four, a quaternion, are not in the challenge.
UNIT_SIGNALS = (("acc", "acc", "mg"), ("gyro", "gyro", "unknown"), ("magnetic", "mag", "unknown"))
SHOE_SIGNALS = (
    ("Eu", "orientation", "deg"),
    ("Nav_A", "acc", "mg"),
    ("Body_A", "acc", "mg"),
    ("AngVelBodyFrame", "gyro", "mm/s"),
    ("AngVelNavFrame", "gyro", "mm/s"),
)


def challenge_channels() -> dict[int, Channel]:
    """The channels of the challenge by their column, counted from 0. Names are <device>_<publisher's signal>."""
    channels = {}
    for i, site in enumerate(BLUETOOTH_SITES):
        for j, axis in enumerate("XYZ"):
            channels[1 + 3 * i + j] = Channel(f"{site}_acc{axis}", "acc", site, "mg")
    for i, site in enumerate(UNIT_SITES):
        for j, (signal, group, unit) in enumerate(UNIT_SIGNALS):
            for k, axis in enumerate("XYZ"):
                name = f"IMU_{site}_{signal}{axis}"
                channels[37 + 13 * i + 3 * j + k] = Channel(name, group, f"IMU_{site}", unit)
    for i, site in enumerate(("L-SHOE", "R-SHOE")):
        for j, (signal, group, unit) in enumerate(SHOE_SIGNALS):
            for k, axis in enumerate("xyz" if signal.endswith("_A") else "XYZ"):
                channels[102 + 16 * i + 3 * j + k] = Channel(f"{site}_{signal}{axis}", group, site, unit)
        channels[117 + 16 * i] = Channel(f"{site}_Compass", "orientation", site, "deg")
    return dict(sorted(channels.items()))


CHANNEL_COLUMNS = tuple(challenge_channels())
CHANNELS = tuple(challenge_channels().values())
SOURCE = Source(
    dataset="opportunity",
    folder="OpportunityUCIDataset/dataset",
    files=(),
    pattern="S[1-4]-*.dat",
    archives=("opportunity+activity+recognition.zip", "OpportunityUCIDataset.zip"),
    download=Archive(
        url="https://archive.ics.uci.edu/static/public/226/opportunity+activity+recognition.zip",
        name="opportunity+activity+recognition.zip",
        size=306_637_000,
        sha256=None,
        unpacked_limit=3 << 30,
    ),
)
# What the literature counts in the files of the challenge: subjects 1 to 3, by whether they train or test.
CHALLENGE_ROWS = {
    "training": (
        {(1, f"ADL{i}") for i in range(1, 6)}
        | {(s, run) for s in (2, 3) for run in ("ADL1", "ADL2", "ADL3")}
        | {(s, "Drill") for s in (1, 2, 3)},
        557_963,
    ),
    "test": ({(s, run) for s in (2, 3) for run in ("ADL4", "ADL5")}, 118_750),
}


def read(folder: Path) -> Reading:
    """Reads the publisher's folder.

    Args:
      folder: the one that holds the files S1-ADL1.dat to S4-Drill.dat, or some of them.

    Returns:
      One recording per file, in order of subject and run; its run is ADL1 to ADL5 or Drill. Labels are gestures, the
      track `locomotion` has its own classes, `TRACK_CLASS_NAMES`.

    Raises:
      DataError: a file is damaged.
    """
    recordings, notes, files, lacking = [], [], [], []
    for path in listed(folder, SOURCE.pattern):
        match = re.fullmatch(r"S([1-4])-(ADL[1-5]|Drill)\.dat", path.name)
        if match is None:
            raise DataError(f"{path}: expected files named S1-ADL1.dat to S4-ADL5.dat and S1-Drill.dat to S4-Drill.dat")
        recording, missing = read_file(path, int(match[1]), match[2])
        recordings.append(recording)
        lacking.append(missing)
        files.append(path.name)
        notes.append(f"{path.name}: {missing.sum():,} missing values filled, {len(recording.starts) - 1} gaps in time")
    return Reading(
        recordings,
        [found(recordings, CLASS_NAMES), *notes],
        [*shortfall(recordings), *altered(folder, files, PUBLISHED)],
        values_missing(recordings, lacking),
    )


def read_file(path: Path, subject: int, run: str) -> tuple[Recording, np.ndarray]:
    """One recording, and (c,) how many values of each channel were missing."""
    signals, exact = read_columns(path, COLUMNS, CHANNEL_COLUMNS, (TIME, LOCOMOTION, GESTURE), missing=True)
    time, locomotion, gesture = exact.T
    missing = fill_missing(signals, leading="zero")
    recording = Recording(
        signals=signals,
        labels=codes_to_labels(path, gesture, class_index(GESTURES)),
        subject=subject,
        run=run,
        rate=RATE,
        channels=CHANNELS,
        starts=stretch_starts(path, time, 1.5 * 1000 / RATE),
        tracks={"locomotion": codes_to_labels(path, locomotion, class_index(LOCOMOTIONS))},
    )
    return recording, missing


def class_index(codes: dict[int, str]) -> dict[int, int]:
    """{publisher's code: class index}; code 0 is null."""
    return {0: UNLABELLED} | {code: index for index, code in enumerate(codes)}


def shortfall(recordings: Sequence[Recording]) -> list[str]:
    """In what these recordings fall short of the published ones."""
    present = {(r.subject, r.run): len(r.labels) for r in recordings}
    names = [f"S{subject}-{run}.dat" for subject, run in present]
    rows = []
    for part, (files, published) in CHALLENGE_ROWS.items():
        if files <= set(present):
            rows += shortage(f"rows of the challenge's {part} files", sum(present[f] for f in files), published)
    return absent("files", names, list(PUBLISHED)) + rows
