"""HARTH: 22 subjects in daily life, 12 activities, accelerometers at the lower back and the thigh, 50 Hz.

Logacjov et al. 2021. A file per subject, harth/S006.csv to S029.csv, with a line of column names: `timestamp`, `back_x`
to `thigh_z` (g) and `label`. Three files have a column more, of line numbers, which is not read. Where time stamps are
more than a tenth of a second apart, a new stretch begins.
"""

import re
from pathlib import Path

import numpy as np

from dcdp_jax.data.completeness import file_by_file
from dcdp_jax.data.download import Source
from dcdp_jax.data.headed import HEADER_LINES, read_named
from dcdp_jax.data.protocols import COMMON
from dcdp_jax.data.recording import Channel, Recording
from dcdp_jax.data.text import codes_to_labels, stretch_starts

CLASSES = {
    1: "walking",
    2: "running",
    3: "shuffling",
    4: "stairs_ascending",
    5: "stairs_descending",
    6: "standing",
    7: "sitting",
    8: "lying",
    13: "cycling_sit",
    14: "cycling_stand",
    130: "cycling_sit_inactive",
    140: "cycling_stand_inactive",
}
CLASS_NAMES = tuple(CLASSES.values())
CODES = {code: label for label, code in enumerate(CLASSES)}
RATE = 50.0
LONGEST_STEP = 0.1  # seconds
SUBJECTS = (6, 8, 9, 10, *range(12, 30))
ROWS = 6_461_328  # of the published files
CHANNELS = tuple(Channel(f"{site}_{axis}", "acc", site, "g") for site in ("back", "thigh") for axis in "xyz")
SOURCE = Source(
    dataset="harth",
    folder="harth",
    pattern="S[0-9][0-9][0-9].csv",
    url="https://archive.ics.uci.edu/static/public/779/harth.zip",
    size=150_000_000,
    unpacked_limit=2 << 30,
)


def read_file(path: Path, match: re.Match[str]) -> Recording:
    """Reads the recording of a subject."""
    values, time = read_named(path, [*(channel.name for channel in CHANNELS), "label"], "timestamp")
    return Recording(
        signals=values[:, :-1].astype(np.float32),
        labels=codes_to_labels(path, values[:, -1], CODES, first_line=1 + HEADER_LINES),
        subject=int(match[1]),
        run="1",
        rate=RATE,
        channels=CHANNELS,
        starts=stretch_starts(path, time, LONGEST_STEP),
    )


DATASET = file_by_file(
    read_file,
    source=SOURCE,
    class_names=CLASS_NAMES,
    channels=CHANNELS,
    rate=RATE,
    protocols=COMMON,
    name=r"S(\d{3})\.csv",
    files=[f"S{subject:03d}.csv" for subject in SUBJECTS],
    expected="S006.csv to S029.csv, without S007 and S011",
    rows=ROWS,
)
