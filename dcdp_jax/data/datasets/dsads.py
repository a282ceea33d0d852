"""DSADS, daily and sports activities: 8 subjects, 19 activities of 5 minutes, 5 inertial units, 25 Hz.

Barshan and Yuksek 2014. A file per segment of 5 seconds, data/aNN/pN/sNN.txt: 125 lines of 45 numbers, separated by
commas; torso, arms and legs, of each acceleration (m/s^2), angular rate (rad/s) and magnetic field (in units of the
earth's). The segments of an activity were cut from one recording without overlap, so consecutive numbers are
consecutive in time; where a number is missing, a new stretch begins.

Rowing and jumping of subject 8 are those of subject 4, ten samples later; see `without_copies`.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from dcdp_jax.data.completeness import described, find_data_files, missing_names, shortage
from dcdp_jax.data.download import Source
from dcdp_jax.data.protocols import COMMON, fixed
from dcdp_jax.data.recording import Channel, Recording, Recordings
from dcdp_jax.data.shared_samples import find_shared
from dcdp_jax.data.spec import DatasetSpec
from dcdp_jax.data.text import end_to_end, parse, read_columns, unreadable
from dcdp_jax.errors import DataError

CLASS_NAMES = (
    "sitting",
    "standing",
    "lying_on_back",
    "lying_on_right_side",
    "ascending_stairs",
    "descending_stairs",
    "standing_in_elevator",
    "moving_in_elevator",
    "walking_in_parking_lot",
    "walking_on_treadmill_flat",
    "walking_on_treadmill_inclined",
    "running_on_treadmill",
    "exercising_on_stepper",
    "exercising_on_cross_trainer",
    "cycling_horizontal",
    "cycling_vertical",
    "rowing",
    "jumping",
    "playing_basketball",
)
RATE = 25.0
SUBJECTS = 8
SEGMENTS = 60
LINES = 125
CHANNELS = tuple(
    Channel(f"{site}_{group}_{axis}", group, site, unit)
    for site in ("torso", "right_arm", "left_arm", "right_leg", "left_leg")
    for group, unit in (("acc", "m/s^2"), ("gyro", "rad/s"), ("mag", "earth field"))
    for axis in "xyz"
)
SOURCE = Source(
    dataset="dsads",
    folder="data",
    pattern="a[0-9][0-9]/p[0-9]/s[0-9][0-9].txt",
    url="https://archive.ics.uci.edu/static/public/256/daily+and+sports+activities.zip",
    size=170_000_000,
    unpacked_limit=2 << 30,
)


def read(folder: Path) -> Recordings:
    """Returns one recording per activity and subject, in this order; its run is a01 to a19."""
    segments: dict[tuple[int, int], dict[int, Path]] = defaultdict(dict)
    for path in find_data_files(folder, SOURCE.pattern):
        match = re.search(r"a(\d\d)/p(\d)/s(\d\d)\.txt$", path.as_posix())
        activity, subject, segment = map(int, match.groups()) if match else (0, 0, 0)
        if not (1 <= activity <= len(CLASS_NAMES) and 1 <= subject <= SUBJECTS and 1 <= segment <= SEGMENTS):
            raise DataError(f"{path}: expected a01 to a{len(CLASS_NAMES)}, p1 to p{SUBJECTS}, s01 to s{SEGMENTS}")
        segments[activity, subject][segment] = path
    recordings = [read_recording(*key, paths) for key, paths in segments.items()]
    kept, notes = without_copies(recordings)
    return described(kept, CLASS_NAMES, shortfall(recordings), notes)


def without_copies(recordings: Sequence[Recording]) -> tuple[list[Recording], list[str]]:
    """Leaves out what has the samples of the same activity of an earlier subject, moved in time, with a note for each.

    Nobody can train on a person and test on that person's copy then. Whose recording it is, is not known.
    """
    kept: list[Recording] = []
    notes = []
    for recording in recordings:
        for other in (other for other in kept if other.run == recording.run):
            if share(other.signals, recording.signals):
                notes.append(
                    f"{recording.run} of subject {recording.subject} is left out: it has the samples of subject "
                    f"{other.subject}, moved in time"
                )
                break
        else:
            kept.append(recording)
    return kept, notes


def share(a: np.ndarray, b: np.ndarray) -> bool:
    """Returns whether signals (t, c) and (u, c) share a segment of equal rows; see `find_shared` for shorter runs."""
    first = np.arange(len(a) + len(b)) < len(a)
    return find_shared(np.concatenate([a, b]), first, ~first, (LINES + 1) // 2) is not None


def read_recording(activity: int, subject: int, paths: dict[int, Path]) -> Recording:
    """Reads one recording from its segments, {number: path}."""
    numbers = np.array(list(paths))
    signals = read_segments(list(paths.values()))
    return Recording(
        signals=signals,
        labels=np.full(len(signals), activity - 1, np.int32),
        subject=subject,
        run=f"a{activity:02d}",
        rate=RATE,
        channels=CHANNELS,
        starts=np.concatenate([[0], (np.flatnonzero(np.diff(numbers) > 1) + 1) * LINES]).astype(np.int64),
    )


def read_segments(paths: Sequence[Path]) -> np.ndarray:
    """Reads s files into (125 s, 45) float32, all at once, and one by one only to find the one that is damaged."""
    texts = []
    for path in paths:
        try:
            text = path.read_bytes()
        except OSError as error:
            raise unreadable(path, error) from error
        texts.append(text if text.endswith(b"\n") else text + b"\n")
    if all(text.count(b"\n") == LINES for text in texts):
        try:
            columns = tuple(range(len(CHANNELS)))
            parsed = parse(b"".join(texts), columns=len(columns), signals=columns, exact=(), delimiter=",")
            table, _ = end_to_end([parsed], len(columns), 0)
            if len(table) == LINES * len(paths) and np.isfinite(table).all():
                return table
        except pa.ArrowInvalid:
            pass
    tables = []
    for path in paths:
        table, _ = read_columns(path, len(CHANNELS), range(len(CHANNELS)), delimiter=",")
        if len(table) != LINES:
            raise DataError(f"{path}: {len(table)} lines, expected {LINES}")
        tables.append(table)
    return np.concatenate(tables)


def shortfall(recordings: Sequence[Recording]) -> list[str]:
    """Returns how these recordings fall short of the published ones, one sentence each."""
    names = [f"a{a:02d}/p{p}" for a in range(1, len(CLASS_NAMES) + 1) for p in range(1, SUBJECTS + 1)]
    segments = sum(len(r.labels) for r in recordings) // LINES
    present = [f"{r.run}/p{r.subject}" for r in recordings]
    return missing_names("recordings", present, names) + shortage("segments", segments, len(names) * SEGMENTS)


def read_one(path: Path) -> list[Recording] | None:
    """Reads all segments of a subject's activity from any of its files."""
    match = re.search(r"/a(0[1-9]|1\d)/p([1-8])/s\d\d\.txt$", path.absolute().as_posix())
    if match is None:
        return None
    paths = {path, *path.parent.glob("s[0-9][0-9].txt")}
    return [read_recording(int(match[1]), int(match[2]), {int(p.stem[1:]): p for p in sorted(paths)})]


DATASET = DatasetSpec(
    class_names=CLASS_NAMES,
    channels=CHANNELS,
    rate=RATE,
    source=SOURCE,
    read=read,
    read_one=read_one,
    example="a01/p1/s01.txt",
    protocols={"standard": fixed("standard", (7,), (8,)), **COMMON},
    version="1.1.0",
)
