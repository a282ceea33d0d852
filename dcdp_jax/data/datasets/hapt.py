"""HAPT: the continuous recordings behind UCI-HAR with postural transitions; 30 subjects, a phone at the waist, 50 Hz.

Reyes-Ortiz et al. 2015. Per experiment a file of accelerations (g) and one of angular rates (rad/s), three numbers a
line; labels.txt names intervals: experiment, subject, activity, first and last sample, counted from 1. What lies
between the intervals is unlabelled.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dcdp_jax.data.completeness import described, find_data_files, shortage
from dcdp_jax.data.datasets.uci_har import CLASS_NAMES as BASIC_CLASS_NAMES
from dcdp_jax.data.datasets.uci_har import OFFICIAL
from dcdp_jax.data.download import Source
from dcdp_jax.data.protocols import COMMON
from dcdp_jax.data.recording import UNLABELLED, Channel, Recording, Recordings
from dcdp_jax.data.spec import DatasetSpec
from dcdp_jax.data.text import read_codes, read_columns
from dcdp_jax.errors import DataError

TRANSITIONS = ("stand_to_sit", "sit_to_stand", "sit_to_lie", "lie_to_sit", "stand_to_lie", "lie_to_stand")
CLASS_NAMES = (*BASIC_CLASS_NAMES, *TRANSITIONS)
RATE = 50.0
SUBJECTS = 30
RECORDINGS = 61
SAMPLES = 1_122_772
LABELLED = 815_614  # of them
MOST = 1_000_000_000
CHANNELS = tuple(
    Channel(f"{group}_{axis}", group, "waist", unit)
    for group, unit in (("acc", "g"), ("gyro", "rad/s"))
    for axis in "xyz"
)
SOURCE = Source(
    dataset="hapt",
    folder="HAPT Data Set",
    files=("RawData/labels.txt",),
    pattern="RawData/acc_exp*_user*.txt",
    alternative="HAPT Data Set.zip",
    url="https://archive.ics.uci.edu/static/public/341/"
    "smartphone+based+recognition+of+human+activities+and+postural+transitions.zip",
    size=80_000_000,
    unpacked_limit=1 << 30,
)


def read(folder: Path) -> Recordings:
    """Returns one recording per experiment, in its order; its run is exp01 to exp61."""
    intervals = read_intervals(folder / "RawData" / "labels.txt")
    recordings = []
    for path in find_data_files(folder, SOURCE.pattern):
        match = re.fullmatch(r"acc_exp(\d\d)_user(\d\d)\.txt", path.name)
        if match is None:
            raise DataError(f"{path}: expected files named acc_expNN_userMM.txt")
        experiment, subject = int(match[1]), int(match[2])
        rows = intervals[intervals[:, 0] == experiment]
        recordings.append(read_experiment(path, experiment, subject, rows))
    have = {int(r.run.removeprefix("exp")) for r in recordings}
    notes = [
        f"RawData/labels.txt labels experiment {experiment}, which has no files"
        for experiment in sorted(set(intervals[:, 0].tolist()) - have)
    ]
    return described(recordings, CLASS_NAMES, shortfall(recordings), notes)


def read_intervals(path: Path) -> np.ndarray:
    """Reads labels.txt; returns its rows and the line of each as (n, 6) int64."""
    highest = (MOST, SUBJECTS, len(CLASS_NAMES), MOST, MOST)
    table = read_codes(path, highest, ("experiment", "subject", "activity", "first sample", "last sample"))
    return np.column_stack([table, np.arange(1, len(table) + 1)])


def read_experiment(path: Path, experiment: int, subject: int, intervals: np.ndarray) -> Recording:
    """Reads one recording from its two files and its rows of labels.txt."""
    acc, _ = read_columns(path, 3, range(3))
    gyro_path = path.with_name(path.name.replace("acc_", "gyro_", 1))
    gyro, _ = read_columns(gyro_path, 3, range(3))
    if len(gyro) != len(acc):
        raise DataError(f"{gyro_path}: {len(gyro)} lines, but {path.name} has {len(acc)}")
    labels = np.full(len(acc), UNLABELLED, np.int32)
    for _, owner, activity, first, last, line in intervals.tolist():
        where = f"{path.with_name('labels.txt')}, line {line}"
        if owner != subject:
            raise DataError(f"{where}: subject {owner}, but the files of experiment {experiment} name {subject}")
        if not first <= last <= len(acc):
            raise DataError(f"{where}: samples {first} to {last}, but experiment {experiment} has {len(acc)}")
        if (labels[first - 1 : last] != UNLABELLED).any():
            raise DataError(f"{where}: samples {first} to {last} overlap those of an earlier line")
        labels[first - 1 : last] = activity - 1
    return Recording(
        signals=np.concatenate([acc, gyro], axis=1),
        labels=labels,
        subject=subject,
        run=f"exp{experiment:02d}",
        rate=RATE,
        channels=CHANNELS,
    )


def shortfall(recordings: Sequence[Recording]) -> list[str]:
    """Returns how these recordings fall short of the published ones, one sentence each."""
    return (
        shortage("recordings", len(recordings), RECORDINGS)
        + shortage("subjects", len({r.subject for r in recordings}), SUBJECTS)
        + shortage("samples", sum(len(r.labels) for r in recordings), SAMPLES)
        + shortage("labelled samples", sum(int((r.labels != UNLABELLED).sum()) for r in recordings), LABELLED)
    )


def read_one(path: Path) -> list[Recording] | None:
    """Reads an experiment from either of its two files, labelled where labels.txt is there."""
    match = re.search(r"/(acc|gyro)_exp(\d\d)_user(\d\d)\.txt$", path.absolute().as_posix())
    if match is None:
        return None
    labels = path.with_name("labels.txt")
    intervals = read_intervals(labels) if labels.is_file() else np.zeros((0, 6), np.int64)
    experiment, subject = int(match[2]), int(match[3])
    accelerations = path.with_name(f"acc_exp{match[2]}_user{match[3]}.txt")
    return [read_experiment(accelerations, experiment, subject, intervals[intervals[:, 0] == experiment])]


DATASET = DatasetSpec(
    class_names=CLASS_NAMES,
    channels=CHANNELS,
    rate=RATE,
    source=SOURCE,
    read=read,
    read_one=read_one,
    example="RawData/acc_exp01_user01.txt",
    protocols={"official": OFFICIAL, **COMMON},
    mirror={"waist": "y"},  # the phone's x axis is vertical, z is normal to its screen
)
