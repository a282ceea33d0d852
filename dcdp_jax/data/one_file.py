"""The recordings of a single file of a published data set, without the rest of the data set."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dcdp_jax.data.readers import dsads, hapt, opportunity, pamap2, uci_har, wisdm
from dcdp_jax.data.recording import Recording

# Data set: what its files are called.
NAMES = {
    "opportunity": "S1-ADL1.dat",
    "pamap2": "Protocol/subject101.dat",
    "wisdm": wisdm.FILE,
    "uci_har": "test/y_test.txt",
    "hapt": "RawData/acc_exp01_user01.txt",
    "dsads": "a01/p1/s01.txt",
}


def read_one_file(dataset: str, path: Path) -> list[Recording] | None:
    """The recordings that one of the publisher's files is about.

    Files that belong to it are read as well, where they lie: the gyroscope's beside the accelerometer's, labels, the
    other segments of a recording.

    Args:
      dataset: name of a published data set.
      path: of the file.

    Returns:
      Recordings, unlabelled where the publisher's file of labels is not there; None where the name of the file is not
      one of the data set's.

    Raises:
      DataError: a file is missing or damaged.
    """
    pattern, read = READERS[dataset]
    match = re.search(pattern, path.absolute().as_posix())
    return read(path, match) if match else None


def read_hapt(path: Path, match: re.Match[str]) -> list[Recording]:
    """An experiment, from either of its two files; labelled where labels.txt is there."""
    labels = path.with_name("labels.txt")
    intervals = hapt.read_intervals(labels) if labels.is_file() else np.zeros((0, 6), np.int64)
    experiment, subject = int(match[2]), int(match[3])
    accelerations = path.with_name(f"acc_exp{match[2]}_user{match[3]}.txt")
    return [hapt.read_experiment(accelerations, experiment, subject, intervals[intervals[:, 0] == experiment])]


def read_dsads(path: Path, match: re.Match[str]) -> list[Recording]:
    """All segments of an activity of a subject."""
    paths = {path, *path.parent.glob("s[0-9][0-9].txt")}
    segments = {int(p.stem[1:]): p for p in sorted(paths)}
    return [dsads.read_recording(int(match[1]), int(match[2]), segments)]


def read_uci_har(path: Path, match: re.Match[str]) -> list[Recording]:
    """All subjects of the publisher's `train` or `test`."""
    folder = next(parent for parent in path.absolute().parents if parent.name == match[1])
    return uci_har.read_split(folder, match[1])


READERS: dict[str, tuple[str, Callable[[Path, re.Match[str]], list[Recording]]]] = {
    "opportunity": (
        r"/S([1-4])-(ADL[1-5]|Drill)\.dat$",
        lambda path, match: [opportunity.read_file(path, int(match[1]), match[2])[0]],
    ),
    "pamap2": (
        r"/(Protocol|Optional)/subject(\d+)\.dat$",
        lambda path, match: [pamap2.read_file(path, int(match[2]), match[1], heart_rate=False)[0]],
    ),
    "wisdm": (rf"/{re.escape(wisdm.FILE)}$", lambda path, match: list(wisdm.read(path.parent))),
    "uci_har": (r"/(train|test)/(Inertial Signals/)?\w+_\1\.txt$", read_uci_har),
    "hapt": (r"/(acc|gyro)_exp(\d\d)_user(\d\d)\.txt$", read_hapt),
    "dsads": (r"/a(0[1-9]|1\d)/p([1-8])/s\d\d\.txt$", read_dsads),
}
