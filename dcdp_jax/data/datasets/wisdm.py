"""WISDM v1.1: 36 users, a phone in the front pocket, one accelerometer at 20 Hz, 6 activities.

Kwapisz, Weiss and Moore 2010. One text file of records `user,activity,timestamp,x,y,z;` in the order in which the
phones sent them; timestamps are nanoseconds since the phone was switched on, accelerations m/s^2.

What the published file needs, and what is done with it:

- Several records on a line, a comma before the semicolon, empty lines: read.
- A record without z, or with another number of fields: left out, counted, named with its line. More than one in a
  thousand of these is a damaged file, and an error; so is anything else than numbers, a user or an activity.
- The same record twice (user, activity, timestamp and values): left out, counted.
- Timestamp 0 with acceleration 0: no measurement (gravity is missing); left out, counted. With another acceleration
  the time is unknown: kept at its place in the file, as a separate stretch.
- Timestamps that repeat with other values: kept, the phone's clock was slower than its sensor.
- Timestamps that go back, or forward by more than `LONGEST_STEP`, another user or another activity: a new stretch. The
  file's order is taken for the order in time, as timestamps start again whenever a phone does. Single samples that
  the phone dropped are no gap: its steps vary from 40 to 110 ms.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dcdp_jax.data.completeness import described, missing_names
from dcdp_jax.data.download import Source
from dcdp_jax.data.pool import Interval
from dcdp_jax.data.protocols import COMMON, SPLITS, TEST_SHARE, VALIDATION_SHARE, Choice, Protocol, fixed
from dcdp_jax.data.recording import UNLABELLED, Channel, Recording, Recordings
from dcdp_jax.data.spec import DatasetSpec
from dcdp_jax.data.windows import cut_at_label_changes
from dcdp_jax.data.wisdm_records import CLASS_NAMES, USERS, Records, read_records
from dcdp_jax.errors import DataError

PUBLISHED = {
    "walking": 424_400,
    "jogging": 342_177,
    "upstairs": 122_869,
    "downstairs": 100_427,
    "sitting": 59_939,
    "standing": 48_395,
}
RATE = 20.0
LONGEST_STEP = 1_000_000_000
CHANNELS = tuple(Channel(f"acc_{axis}", "acc", "pocket", "m/s^2") for axis in "xyz")
FILE = "WISDM_ar_v1.1_raw.txt"
SOURCE = Source(
    dataset="wisdm",
    folder="WISDM_ar_v1.1",
    files=(FILE,),
    alternative="WISDM_ar_v1.1.tar.gz",
    url="https://www.cis.fordham.edu/wisdm/includes/datasets/latest/WISDM_ar_latest.tar.gz",
    size=11_000_000,
    unpacked_limit=1 << 28,
)
# The publisher's counts and those of the published file differ by a handful.
TOLERANCE = 50
NAMED = 5  # malformed records in a note


def read(folder: Path) -> Recordings:
    """Returns one recording per user, in order of user, samples in the file's order; its run is `all`."""
    records, malformed = read_records(folder / FILE)
    notes = []
    if malformed:
        more = "; ..." if len(malformed) > NAMED else ""
        notes.append(f"{FILE}: {len(malformed)} malformed records left out: {'; '.join(malformed[:NAMED])}{more}")
    empty = records.time == 0
    empty[empty] = ~records.acceleration[empty].any(axis=1)
    repeated = repetitions(records)
    for mask, what in ((empty, "records with neither time nor acceleration"), (repeated, "repeated records")):
        if mask.any():
            notes.append(f"{FILE}: {np.count_nonzero(mask):,} {what} left out")
    left_out = np.bincount(records.label[empty | repeated], minlength=len(CLASS_NAMES))
    if left_out.any():
        records = records.where(~(empty | repeated))
    if not len(records.user):
        raise DataError(f"{folder / FILE}: no record is a measurement")
    recordings = by_user(records)
    missing = shortfall(recordings, left_out.tolist(), len(malformed))
    return described(recordings, CLASS_NAMES, missing, notes)


def repetitions(records: Records) -> np.ndarray:
    """Returns (n,) bool: whether an earlier record with a timestamp has the same content."""
    import pandas as pd  # here, because the other data sets do not need it

    mask = pd.Series(records.time).duplicated(keep=False).to_numpy() & (records.time != 0)
    some = records.where(mask)
    content = pd.DataFrame(some.acceleration.view(np.uint32)).assign(user=some.user, label=some.label, time=some.time)
    mask[mask] = content.duplicated()
    return mask


def by_user(records: Records) -> list[Recording]:
    """Returns one recording per user."""
    step = np.diff(records.time)
    new = (np.diff(records.user) != 0) | (np.diff(records.label) != 0) | (step < 0) | (step > LONGEST_STEP)
    new = np.concatenate([[True], new])
    order = np.argsort(records.user, kind="stable")
    bounds = np.flatnonzero(np.diff(records.user[order])) + 1
    return [
        Recording(
            signals=records.acceleration[rows],
            labels=records.label[rows].astype(np.int32),
            subject=int(records.user[rows[0]]),
            run="all",
            rate=RATE,
            channels=CHANNELS,
            starts=np.flatnonzero(new[rows]).astype(np.int64),
        )
        for rows in np.split(order, bounds)
    ]


def shortfall(recordings: Sequence[Recording], left_out: Sequence[int] = (0,) * 6, malformed: int = 0) -> list[str]:
    """Returns how the recordings, with the records left out of each class and the malformed ones, fall short."""
    counts = sum(np.bincount(r.labels, minlength=len(CLASS_NAMES)) for r in recordings) + np.array(left_out)
    users = [f"user {user}" for user in range(1, USERS + 1)]
    notes = missing_names("users", [f"user {r.subject}" for r in recordings], users)
    for (name, published), count in zip(PUBLISHED.items(), counts.tolist(), strict=True):
        if abs(published - count) > TOLERANCE + malformed:
            notes.append(f"{count:,} of {published:,} rows of {name}")
    return notes


def read_one(path: Path) -> list[Recording] | None:
    """Reads the whole data set, which is one file."""
    return list(read(path.parent)) if path.name == FILE else None


def by_time(recordings: Sequence[Recording], choice: Choice) -> Protocol:
    """Divides by time: per user and class the first 80 % train and the last 20 % test; a tenth of the 80 % validates.

    The parts of a class are counted in labelled samples, over all recordings of a user in order.
    """
    intervals: dict[str, list[Interval]] = {split: [] for split in SPLITS}
    total: dict[tuple[int, int], int] = {}
    for r in recordings:
        for label in range(int(r.labels.max()) + 1):
            total[r.subject, label] = total.get((r.subject, label), 0) + int((r.labels == label).sum())
    seen = dict.fromkeys(total, 0)
    for i, r in enumerate(recordings):
        whole = np.array([[0, len(r.labels)]], np.int64)
        for start, stop in cut_at_label_changes(r.labels, whole).tolist():
            if r.labels[start] == UNLABELLED:
                continue
            key = r.subject, int(r.labels[start])
            test_from = round(total[key] * (1 - TEST_SHARE))
            validation_from = round(test_from * (1 - VALIDATION_SHARE))
            bounds = [0, validation_from, test_from, total[key]]
            for split, low, high in zip(SPLITS, bounds[:-1], bounds[1:], strict=True):
                first, last = (min(max(start + at - seen[key], start), stop) for at in (low, high))
                if first < last:
                    intervals[split].append(Interval(i, first, last))
            seen[key] += stop - start
    notes = (
        "per user and class: the first 80 % in time train, the last 20 % test; the paper names no validation set: "
        "here it is the last tenth of each training set",
    )
    return Protocol("paper", intervals, notes=notes)


DATASET = DatasetSpec(
    class_names=CLASS_NAMES,
    channels=CHANNELS,
    rate=RATE,
    source=SOURCE,
    read=read,
    read_one=read_one,
    example=FILE,
    protocols={"paper": by_time, "subject": fixed("subject", range(27, 31), range(31, 37)), **COMMON},
    mirror={"pocket": "x"},  # the phone's y axis is vertical, z faces out of the pocket (Kwapisz et al. 2010)
)
