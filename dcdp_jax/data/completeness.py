"""Compares the files of a published data set with what was published."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from dcdp_jax.data.download import file_sha256
from dcdp_jax.data.recording import Recording, Recordings
from dcdp_jax.errors import DataError

NAMED = 5


def find_data_files(folder: Path, pattern: str) -> list[Path]:
    """Returns the files that match a pattern, sorted by path; raises DataError where there is none."""
    paths = sorted(path for path in folder.glob(pattern) if path.is_file())
    if not paths:
        raise DataError(f"{folder}: no files {pattern}")
    return paths


def describe_counts(recordings: Sequence[Recording], class_names: Sequence[str]) -> str:
    """Returns a sentence with the numbers of recordings, subjects and samples, and of samples per class."""
    labels = np.concatenate([r.labels for r in recordings])
    counts = np.bincount(labels[labels >= 0], minlength=len(class_names))
    classes = ", ".join(f"{name} {count:,}" for name, count in zip(class_names, counts, strict=True))
    return (
        f"{len(recordings)} recordings of {len({r.subject for r in recordings})} subjects, {len(labels):,} samples: "
        f"{classes}, unlabelled {np.count_nonzero(labels < 0):,}"
    )


def described(
    recordings: list[Recording],
    class_names: tuple[str, ...],
    missing: Sequence[str],
    notes: Sequence[str] = (),
) -> Recordings:
    """Returns recordings with a note on their counts ahead of others, and with how they fall short, if they do."""
    counts = describe_counts(recordings, class_names)
    return Recordings(recordings, class_names, notes=(counts, *notes), missing=tuple(missing))


def read_each(folder: Path, pattern: str, read_file: Callable[[Path], Recording]) -> list[Recording]:
    """Reads the files of a data set that has a recording in each.

    Returns:
      The recordings in the order of their subjects, those of one subject by the numbers in the names of their runs.

    Raises:
      DataError: no file matches the pattern, or one cannot be read.
    """
    recordings = [read_file(path) for path in find_data_files(folder, pattern)]
    return sorted(recordings, key=lambda r: (r.subject, *map(int, re.findall(r"\d+", r.run))))


def gather(
    folder: Path,
    files: Mapping[str, tuple[Recording, np.ndarray]],
    class_names: tuple[str, ...],
    published: Mapping[str, tuple[int, str]],
    shortfall: Callable[[Sequence[Recording]], list[str]],
) -> Recordings:
    """Puts together the recordings of a data set that has one in each file.

    Args:
      folder: the publisher's.
      files: {path below it: recording, and (c,) number of missing values of each channel}.
      class_names: names of the classes.
      published: {path: size and SHA-256} of the published files.
      shortfall: returns how recordings fall short of the published ones, one sentence each.
    """
    recordings = [recording for recording, _ in files.values()]
    missing = np.sum([counts for _, counts in files.values()], axis=0)
    notes = [
        f"{name}: {counts.sum():,} missing values filled, {len(recording.starts) - 1} gaps in time"
        for name, (recording, counts) in files.items()
    ]
    return Recordings(
        recordings,
        class_names,
        notes=(describe_counts(recordings, class_names), *notes),
        missing=(*shortfall(recordings), *altered_files(folder, files, published)),
        missing_values=dict(zip(recordings[0].channel_names, missing.tolist(), strict=True)),
    )


def altered_files(folder: Path, files: Iterable[str], published: Mapping[str, tuple[int, str]]) -> list[str]:
    """Returns a sentence for each file that has not the published size, or not the published SHA-256."""
    notes = []
    for name in files:
        size = (folder / name).stat().st_size
        if name not in published:
            notes.append(f"{name} is not among the published files")
        elif size != published[name][0]:
            notes.append(f"{name} has {size:,} bytes, the published one {published[name][0]:,}")
        elif file_sha256(folder / name) != published[name][1]:
            notes.append(f"{name} has the size of the published one but other content (SHA-256 differs)")
    return notes


def shortage(what: str, came: int, published: int) -> list[str]:
    """Returns a sentence where a count differs from the published one."""
    return [] if came == published else [f"{came:,} of {published:,} {what}"]


def missing_names(what: str, names: Iterable[str], published: Sequence[str]) -> list[str]:
    """Returns a sentence with the first published names that are not among `names`, if any."""
    missing = sorted(set(published) - set(names))
    if not missing:
        return []
    shown = ", ".join(missing[:NAMED]) + (", ..." if len(missing) > NAMED else "")
    return [f"{len(missing)} of {len(published)} {what} are missing: {shown}"]
