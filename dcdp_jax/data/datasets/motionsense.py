"""MotionSense: 24 subjects, 6 activities in 15 trials, a phone in the trousers' front pocket, 50 Hz.

Malekzadeh et al. 2019. A file per trial and subject, A_DeviceMotion_data/dws_1/sub_1.csv, with a line of column names;
read are the user's acceleration and gravity (g) and the angular rate (rad/s), as the phone separates them. The attitude
is not read: its angles jump.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dcdp_jax.data.completeness import described, missing_names, read_each, shortage
from dcdp_jax.data.download import Source
from dcdp_jax.data.headed import read_named
from dcdp_jax.data.protocols import COMMON
from dcdp_jax.data.recording import Channel, Recording, Recordings
from dcdp_jax.data.spec import DatasetSpec
from dcdp_jax.errors import DataError

CLASSES = {
    "dws": "walking_downstairs",
    "ups": "walking_upstairs",
    "sit": "sitting",
    "std": "standing",
    "wlk": "walking",
    "jog": "jogging",
}
CLASS_NAMES = tuple(CLASSES.values())
TRIALS = {"dws": (1, 2, 11), "ups": (3, 4, 12), "sit": (5, 13), "std": (6, 14), "wlk": (7, 8, 15), "jog": (9, 16)}
RATE = 50.0
SUBJECTS = 24
ROWS = 1_412_865  # of the published files
COLUMNS = tuple(f"{sensor}.{axis}" for sensor in ("userAcceleration", "gravity", "rotationRate") for axis in "xyz")
CHANNELS = tuple(
    Channel(f"{name}_{axis}", group, "pocket", unit)
    for name, group, unit in (("user_acc", "acc", "g"), ("gravity", "acc", "g"), ("gyro", "gyro", "rad/s"))
    for axis in "xyz"
)
NAME = re.compile(r"/(dws|ups|sit|std|wlk|jog)_(\d+)/sub_(\d+)\.csv$")
SOURCE = Source(
    dataset="motionsense",
    folder="A_DeviceMotion_data",
    pattern="*_*/sub_*.csv",
    url="https://github.com/mmalekzadeh/motion-sense/raw/master/data/A_DeviceMotion_data.zip",
    size=60_000_000,
    unpacked_limit=1 << 30,
)


def read_file(path: Path) -> Recording:
    """Reads the recording of a trial of a subject."""
    match = NAME.search(path.absolute().as_posix())
    if match is None or int(match[2]) not in TRIALS[match[1]] or not 1 <= int(match[3]) <= SUBJECTS:
        raise DataError(f"{path}: expected a trial as dws_1 or jog_16, and sub_1.csv to sub_{SUBJECTS}.csv")
    values, _ = read_named(path, COLUMNS)
    return Recording(
        signals=values.astype(np.float32),
        labels=np.full(len(values), list(CLASSES).index(match[1]), np.int32),
        subject=int(match[3]),
        run=f"{match[1]}_{match[2]}",
        rate=RATE,
        channels=CHANNELS,
    )


def read(folder: Path) -> Recordings:
    """Reads all recordings, in the order of subject and trial."""
    recordings = read_each(folder, SOURCE.pattern, read_file)
    return described(recordings, CLASS_NAMES, shortfall(recordings))


def shortfall(recordings: Sequence[Recording]) -> list[str]:
    """Returns how these recordings fall short of the published ones, one sentence each."""
    runs = [f"{activity}_{trial}" for activity, trials in TRIALS.items() for trial in trials]
    expected = [f"{run}/sub_{subject}.csv" for run in runs for subject in range(1, SUBJECTS + 1)]
    present = [f"{r.run}/sub_{r.subject}.csv" for r in recordings]
    return missing_names("files", present, expected) + shortage("lines", sum(len(r.labels) for r in recordings), ROWS)


DATASET = DatasetSpec(
    class_names=CLASS_NAMES,
    channels=CHANNELS,
    rate=RATE,
    source=SOURCE,
    read=read,
    read_one=lambda path: [read_file(path)] if NAME.search(path.absolute().as_posix()) else None,
    example="dws_1/sub_1.csv",
    protocols=COMMON,
)
