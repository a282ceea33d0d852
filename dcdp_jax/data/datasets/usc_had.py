"""USC-HAD: 14 subjects, 12 activities in 5 trials each, a unit at the right front of the hip, 100 Hz.

Zhang and Sawchuk 2012. A MATLAB file per subject, activity and trial, USC-HAD/Subject1/a1t1.mat, whose variable
`sensor_readings` has a line per sample: acceleration (g) and angular rate (deg/s). Activity and trial are those of the
name of the file.
"""

import io
import re
from pathlib import Path

import numpy as np

from dcdp_jax.data.completeness import file_by_file
from dcdp_jax.data.download import Source
from dcdp_jax.data.protocols import COMMON, fixed
from dcdp_jax.data.recording import Channel, Recording
from dcdp_jax.data.text import LARGEST, unreadable
from dcdp_jax.errors import DataError

CLASS_NAMES = (
    "walking_forward",
    "walking_left",
    "walking_right",
    "walking_upstairs",
    "walking_downstairs",
    "running_forward",
    "jumping_up",
    "sitting",
    "standing",
    "sleeping",
    "elevator_up",
    "elevator_down",
)
RATE = 100.0
SUBJECTS = 14
TRIALS = 5
READINGS = "sensor_readings"
CHANNELS = tuple(
    Channel(f"{group}_{axis}", group, "hip", unit)
    for group, unit in (("acc", "g"), ("gyro", "deg/s"))
    for axis in "xyz"
)
RUNS = tuple(f"a{activity}t{trial}" for activity in range(1, len(CLASS_NAMES) + 1) for trial in range(1, TRIALS + 1))
SOURCE = Source(
    dataset="usc_had",
    folder="USC-HAD",
    pattern="Subject*/a*t*.mat",
    url="https://sipi.usc.edu/had/USC-HAD.zip",
    size=42_000_000,
    unpacked_limit=1 << 29,
)


def read_file(path: Path, match: re.Match[str]) -> Recording:
    """Reads the recording of a trial of a subject."""
    from scipy.io import loadmat

    subject, activity, trial = map(int, match.groups())
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        readings = loadmat(io.BytesIO(content), variable_names=[READINGS]).get(READINGS)
    except Exception as error:  # SciPy raises many kinds for a damaged file
        raise DataError(f"{path}: not a MATLAB file of version 5 ({error})") from error
    if readings is None or readings.ndim != 2 or readings.shape[1] != len(CHANNELS) or not len(readings):
        shape = "absent" if readings is None else f"of shape {readings.shape}"
        raise DataError(f"{path}: {READINGS} is {shape}, expected (samples, {len(CHANNELS)})")
    if readings.dtype.kind not in "fiu":
        raise DataError(f"{path}: {READINGS} holds {readings.dtype}, expected numbers")
    if len(bad := np.argwhere(~(np.abs(readings) <= LARGEST))):
        sample, channel = bad[0]
        raise DataError(f"{path}, sample {sample}: {CHANNELS[channel].name} is not a finite number")
    signals = readings.astype(np.float32)
    return Recording(
        signals=signals,
        labels=np.full(len(signals), activity - 1, np.int32),
        subject=subject,
        run=f"a{activity}t{trial}",
        rate=RATE,
        channels=CHANNELS,
    )


DATASET = file_by_file(
    read_file,
    source=SOURCE,
    class_names=CLASS_NAMES,
    channels=CHANNELS,
    rate=RATE,
    protocols={"standard": fixed("standard", (11, 12), (13, 14)), **COMMON},
    name=r"Subject(\d+)/a(\d+)t(\d+)\.mat",
    files=[f"Subject{subject}/{run}.mat" for subject in range(1, SUBJECTS + 1) for run in RUNS],
    expected=f"Subject1 to Subject{SUBJECTS}, and a1t1.mat to a{len(CLASS_NAMES)}t{TRIALS}.mat",
)
