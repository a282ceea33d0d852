"""Compares the files of a published data set with what was published."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dcdp_jax.data.download import file_sha256
from dcdp_jax.data.recording import Recording
from dcdp_jax.errors import DataError

NAMED = 5


class PublishedFile(NamedTuple):
    """Size in bytes and SHA-256 of a file as it was published."""

    size: int
    sha256: str


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


def sum_missing(recordings: Sequence[Recording], counts: Sequence[np.ndarray]) -> dict[str, int]:
    """Returns {channel name: missing values} from the (c,) counts of each recording."""
    return dict(zip(recordings[0].channel_names, np.sum(counts, axis=0).tolist(), strict=True))


def altered_files(folder: Path, files: Iterable[str], published: Mapping[str, PublishedFile]) -> list[str]:
    """Compares files with the published ones by size, and by SHA-256 where the size agrees.

    Args:
      folder: folder of the data set.
      files: paths within it that exist.
      published: {path: size and SHA-256} of the published files.

    Returns:
      One sentence for each file that differs.
    """
    notes = []
    for name in files:
        size = (folder / name).stat().st_size
        if name not in published:
            notes.append(f"{name} is not among the published files")
        elif size != published[name].size:
            notes.append(f"{name} has {size:,} bytes, the published one {published[name].size:,}")
        elif file_sha256(folder / name) != published[name].sha256:
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
