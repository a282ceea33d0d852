"""MotionSense: 24 subjects, 6 activities in 15 trials, a phone in the trousers' front pocket, 50 Hz.

Malekzadeh et al. 2019. A file per trial and subject, A_DeviceMotion_data/dws_1/sub_1.csv, with a line of column names;
read are the user's acceleration and gravity (g) and the angular rate (rad/s), as the phone separates them. The attitude
is not read: its angles jump.
"""

import re
from pathlib import Path

import numpy as np

from dcdp_jax.data.completeness import file_by_file
from dcdp_jax.data.download import Source
from dcdp_jax.data.headed import read_named
from dcdp_jax.data.protocols import COMMON
from dcdp_jax.data.recording import Channel, Recording

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
RUNS = tuple(f"{activity}_{trial}" for activity, trials in TRIALS.items() for trial in trials)
SOURCE = Source(
    dataset="motionsense",
    folder="A_DeviceMotion_data",
    pattern="*_*/sub_*.csv",
    url="https://github.com/mmalekzadeh/motion-sense/raw/master/data/A_DeviceMotion_data.zip",
    size=60_000_000,
    unpacked_limit=1 << 30,
)


def read_file(path: Path, match: re.Match[str]) -> Recording:
    """Reads the recording of a trial of a subject."""
    values, _ = read_named(path, COLUMNS)
    return Recording(
        signals=values.astype(np.float32),
        labels=np.full(len(values), list(CLASSES).index(match[1]), np.int32),
        subject=int(match[3]),
        run=f"{match[1]}_{match[2]}",
        rate=RATE,
        channels=CHANNELS,
    )


DATASET = file_by_file(
    read_file,
    source=SOURCE,
    class_names=CLASS_NAMES,
    channels=CHANNELS,
    rate=RATE,
    protocols=COMMON,
    name=rf"({'|'.join(CLASSES)})_(\d+)/sub_(\d+)\.csv",
    files=[f"{run}/sub_{subject}.csv" for run in RUNS for subject in range(1, SUBJECTS + 1)],
    expected=f"a trial as dws_1 or jog_16, and sub_1.csv to sub_{SUBJECTS}.csv",
    rows=ROWS,
)
