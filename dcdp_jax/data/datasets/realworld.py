"""RealWorld (HAR): 15 subjects, 8 activities, phones at seven positions of the body, about 50 Hz.

Sztyler and Stuckenschmidt 2016, University of Mannheim. A zip per subject, sensor and activity,
proband1/data/acc_walking_csv.zip, with a table per position, acc_walking_chest.csv: columns `id`, `attr_time`
(milliseconds since 1970) and `attr_x` to `attr_z`, accelerations in m/s^2. The gyroscope's are gyr_walking_csv.zip with
Gyroscope_walking_chest.csv, in rad/s. Where an activity was recorded in several parts, there are several tables for a
position, acc_walking_2_chest.csv, or zips of them in the zip. The zips are read as they are.

Each sensor has a clock of its own: both are laid on one of 50 Hz, by linear interpolation, from the first of the
accelerometer's or gyroscope's stamps on. Where a sensor gives nothing for a second, or the other has ended, a new
stretch begins. A recording is of one subject, activity and position; `data.realworld.position` chooses the position.
"""

import dataclasses
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dcdp_jax.data.completeness import described, find_data_files, missing_names
from dcdp_jax.data.download import DAMAGE, Source
from dcdp_jax.data.headed import read_named
from dcdp_jax.data.protocols import COMMON
from dcdp_jax.data.recording import Channel, Recording, Recordings
from dcdp_jax.data.resample import Even, resample
from dcdp_jax.data.spec import DatasetSpec
from dcdp_jax.data.text import unreadable
from dcdp_jax.errors import DataError

CLASSES = {
    "climbingdown": "climbing_down",
    "climbingup": "climbing_up",
    "jumping": "jumping",
    "lying": "lying",
    "running": "running",
    "sitting": "sitting",
    "standing": "standing",
    "walking": "walking",
}
CLASS_NAMES = tuple(CLASSES.values())
POSITIONS = ("chest", "forearm", "head", "shin", "thigh", "upperarm", "waist")
ALL = "all"
CHOICES = (*POSITIONS, ALL)
SUBJECTS = 15
# Tables that the published files lack, as programs that read them say.
UNPUBLISHED = ("2/climbingup-forearm", "6/jumping-thigh")
RATE = 50.0
LONGEST_STEP = 1.0  # seconds
SENSORS = ("acc", "gyr")  # beginnings of the names of zips, in the order of the channels
COLUMNS = ("attr_time", "attr_x", "attr_y", "attr_z")
CHANNELS = tuple(
    Channel(f"{group}_{axis}", group, "body", unit)
    for group, unit in (("acc", "m/s^2"), ("gyro", "rad/s"))
    for axis in "xyz"
)
NAME = re.compile(r"/proband(\d+)/data/(acc|gyr)_([a-z]+)_csv\.zip$")
LARGEST_TABLE = 1 << 28  # bytes; the published ones have a hundredth of it
SOURCE = Source(
    dataset="realworld",
    folder="realworld2016_dataset",
    pattern="proband*/data/acc_*_csv.zip",
    url="http://wifo5-14.informatik.uni-mannheim.de/sensor/dataset/realworld2016/realworld2016_dataset.zip",
    size=3_600_000_000,
    unpacked_limit=8 << 30,
    packed=True,
)


def read_activity(path: Path) -> list[Recording]:
    """Reads the recordings of an activity of a subject, one for each position, from the zip of either sensor."""
    match = NAME.search(path.absolute().as_posix())
    if match is None or not 1 <= int(match[1]) <= SUBJECTS or match[3] not in CLASSES:
        raise DataError(
            f"{path}: expected proband1 to proband{SUBJECTS}, and data/acc_ACTIVITY_csv.zip with the activity "
            f"{', '.join(CLASSES)}"
        )
    files = {sensor: path.with_name(f"{sensor}_{match[3]}_csv.zip") for sensor in SENSORS}
    tables = {sensor: read_positions(file) for sensor, file in files.items()}
    return [
        Recording(
            signals=even.values,
            labels=np.full(len(even.time), list(CLASSES).index(match[3]), np.int32),
            subject=int(match[1]),
            run=f"{match[3]}-{position}",
            rate=RATE,
            channels=CHANNELS,
            starts=even.starts,
        )
        for position in POSITIONS
        if all(position in tables[sensor] for sensor in SENSORS)
        for even in [on_one_clock(path, position, *(tables[sensor][position] for sensor in SENSORS))]
    ]


def read_positions(path: Path) -> dict[str, np.ndarray]:
    """Reads the tables of one sensor, {position: (n, 4) float64 of milliseconds, x, y, z}, in the order of time."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    parts: dict[str, list[np.ndarray]] = {}
    for name, table in tables_in(path, content):
        values, _ = read_named(name, COLUMNS, content=table)
        parts.setdefault(name.stem.rpartition("_")[2], []).append(values)
    if not parts:
        raise DataError(f"{path}: holds no table of a position, as {path.name[:3]}_walking_chest.csv")
    return {position: ordered(np.concatenate(tables)) for position, tables in parts.items()}


def tables_in(path: Path, content: bytes) -> Iterator[tuple[Path, bytes]]:
    """Yields the name, as if below the zip, and the content of every table of a position in a zip and the zips in it.

    Raises:
      DataError: a zip is damaged, or a table is larger than a published one can be.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if min((member.header_offset for member in archive.infolist()), default=0):
                # Of a zip that was cut off, the index of the last whole zip in it is found instead of its own.
                raise zipfile.BadZipFile("its index is that of a zip within it")
            for member in sorted(archive.infolist(), key=lambda member: member.filename):
                name = Path(member.filename).name
                position = re.search(r"_([a-z]+)\.csv$", name)
                if name.startswith(".") or not (name.endswith(".zip") or (position and position[1] in POSITIONS)):
                    continue
                if member.file_size > LARGEST_TABLE:
                    raise DataError(f"{path}: {member.filename} has {member.file_size:,} bytes, too many for a table")
                inner = archive.read(member)
                if name.endswith(".zip"):
                    yield from tables_in(path / name, inner)
                else:
                    yield path / name, inner
    except DAMAGE as error:
        raise DataError(f"{path}: not a whole zip file ({error}); fetch it again") from error


def ordered(table: np.ndarray) -> np.ndarray:
    """Returns the rows in the order of their stamps, in the first column, without those of a stamp seen before."""
    table = table[np.argsort(table[:, 0], kind="stable")]
    return table[np.diff(table[:, 0], prepend=-np.inf) > 0]


def on_one_clock(path: Path, position: str, *sensors: np.ndarray) -> Even:
    """Lays the (n, 4) tables of both sensors on a common clock; returns `Even` of six channels.

    Raises:
      DataError: they have no time in common.
    """
    time = np.unique(np.concatenate([table[:, 0] for table in sensors]))
    values = np.full((len(time), len(CHANNELS)), np.nan)
    for i, table in enumerate(sensors):
        values[np.searchsorted(time, table[:, 0]), 3 * i : 3 * i + 3] = table[:, 1:]
    seconds = (time - time[0]) / 1000
    try:
        even = resample(seconds, values, rate=RATE, max_gap=LONGEST_STEP)
    except DataError as error:
        raise DataError(f"{path}, {position}: {error}") from error
    if not len(even.time):
        raise DataError(f"{path}, {position}: accelerometer and gyroscope have no time in common")
    return even


def read(folder: Path) -> Recordings:
    """Reads all recordings, in the order of subject, activity and position."""
    recordings = [r for path in find_data_files(folder, SOURCE.pattern) for r in read_activity(path)]
    recordings.sort(key=lambda r: (r.subject, r.run))
    return described(recordings, CLASS_NAMES, shortfall(recordings))


def shortfall(recordings: Sequence[Recording]) -> list[str]:
    """Returns how these recordings fall short of the published ones, one sentence each."""
    runs = [f"{activity}-{position}" for activity in CLASSES for position in POSITIONS]
    expected = {f"{subject}/{run}" for subject in range(1, SUBJECTS + 1) for run in runs}
    present = [f"{r.subject}/{r.run}" for r in recordings]
    return missing_names("recordings", present, sorted(expected.difference(UNPUBLISHED)))


def at_position(recordings: Recordings, options: Any) -> Recordings:
    """Returns the recordings of the position that `data.realworld` chooses."""
    if options.position == ALL:
        return recordings
    kept = [r for r in recordings if r.run.endswith(f"-{options.position}")]
    if not kept:
        raise DataError(f"data.realworld.position={options.position!r}: no recording is of this position")
    note = f"position {options.position}: {len(kept)} of {len(recordings)} recordings"
    return dataclasses.replace(recordings, recordings=kept, notes=(*recordings.notes, note))


DATASET = DatasetSpec(
    class_names=CLASS_NAMES,
    channels=CHANNELS,
    rate=RATE,
    source=SOURCE,
    read=read,
    read_one=lambda path: read_activity(path) if NAME.search(path.absolute().as_posix()) else None,
    select=at_position,
    example="proband1/data/acc_walking_csv.zip",
    protocols=COMMON,
)
