"""MHEALTH: 10 subjects, 12 activities, three units at chest, left ankle and right lower arm, 50 Hz.

Banos et al. 2014. A file per subject, mHealth_subjectN.log: 24 numbers on every line, separated by tabs; the
acceleration of the chest (m/s^2), two leads of an electrocardiogram, then acceleration, angular rate (deg/s) and
magnetic field (of the device's own scale) of the ankle and of the arm, and the label, 0 for none of the activities. The
electrocardiogram is not read.
"""

import re
from pathlib import Path

from dcdp_jax.data.completeness import file_by_file
from dcdp_jax.data.download import Source
from dcdp_jax.data.protocols import COMMON, fixed
from dcdp_jax.data.recording import UNLABELLED, Channel, Recording
from dcdp_jax.data.text import codes_to_labels, read_columns

CLASS_NAMES = (
    "standing",
    "sitting",
    "lying",
    "walking",
    "climbing_stairs",
    "waist_bends_forward",
    "frontal_elevation_of_arms",
    "knees_bending",
    "cycling",
    "jogging",
    "running",
    "jumping",
)
RATE = 50.0
SUBJECTS = 10
ROWS = 1_215_745  # of the published files
COLUMNS, LABEL = 24, 23
SIGNALS = (0, 1, 2, *range(5, 23))
CHANNELS = tuple(
    Channel(f"{site}_{group}_{axis}", group, site, {"acc": "m/s^2", "gyro": "deg/s", "mag": "local"}[group])
    for site, groups in (("chest", ("acc",)), ("ankle", ("acc", "gyro", "mag")), ("arm", ("acc", "gyro", "mag")))
    for group in groups
    for axis in "xyz"
)
CODES = {0: UNLABELLED} | {code: code - 1 for code in range(1, len(CLASS_NAMES) + 1)}
SOURCE = Source(
    dataset="mhealth",
    folder="MHEALTHDATASET",
    pattern="mHealth_subject*.log",
    url="https://archive.ics.uci.edu/static/public/319/mhealth+dataset.zip",
    size=75_000_000,
    unpacked_limit=1 << 30,
)


def read_file(path: Path, match: re.Match[str]) -> Recording:
    """Reads the recording of a subject."""
    signals, codes = read_columns(path, COLUMNS, SIGNALS, (LABEL,), aligned=True)
    return Recording(
        signals=signals,
        labels=codes_to_labels(path, codes[:, 0], CODES),
        subject=int(match[1]),
        run="1",
        rate=RATE,
        channels=CHANNELS,
    )


DATASET = file_by_file(
    read_file,
    source=SOURCE,
    class_names=CLASS_NAMES,
    channels=CHANNELS,
    rate=RATE,
    protocols={"standard": fixed("standard", (8,), (9, 10)), **COMMON},
    name=r"mHealth_subject(\d+)\.log",
    files=[f"mHealth_subject{number}.log" for number in range(1, SUBJECTS + 1)],
    expected=f"mHealth_subject1.log to mHealth_subject{SUBJECTS}.log",
    rows=ROWS,
)
