"""What a reader returns beside the recordings: what it found, and what is missing against the published data set."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dcdp_jax.data.recording import Recording
from dcdp_jax.data.source import file_sha256
from dcdp_jax.errors import DataError

NAMED = 5


class Reading(list[Recording]):
    """The recordings of a data set, in the publisher's order.

    Attributes:
      notes: what was found in the files and how it was dealt with, a sentence each.
      missing: in what the files fall short of what was published, a sentence each; empty where they are complete.
      missing_values: {channel name: values that the files lack, and that were filled in}.
    """

    def __init__(
        self,
        recordings: Iterable[Recording] = (),
        notes: Iterable[str] = (),
        missing: Iterable[str] = (),
        missing_values: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(recordings)
        self.notes = tuple(notes)
        self.missing = tuple(missing)
        self.missing_values = dict(missing_values or {})


class PublishedFile(NamedTuple):
    """A publisher's data file: bytes, SHA-256."""

    size: int
    sha256: str


def listed(folder: Path, pattern: str) -> list[Path]:
    """The files of a data set in order of their paths; raises DataError where there is none."""
    paths = sorted(path for path in folder.glob(pattern) if path.is_file())
    if not paths:
        raise DataError(f"{folder}: no files {pattern}")
    return paths


def found(recordings: Sequence[Recording], class_names: Sequence[str]) -> str:
    """One sentence of counts: recordings, subjects, samples, and samples per class."""
    labels = np.concatenate([r.labels for r in recordings])
    counts = np.bincount(labels[labels >= 0], minlength=len(class_names))
    classes = ", ".join(f"{name} {count:,}" for name, count in zip(class_names, counts, strict=True))
    return (
        f"{len(recordings)} recordings of {len({r.subject for r in recordings})} subjects, {len(labels):,} samples: "
        f"{classes}, unlabelled {np.count_nonzero(labels < 0):,}"
    )


def values_missing(recordings: Sequence[Recording], counts: Sequence[np.ndarray]) -> dict[str, int]:
    """{channel name: values} from the (c,) counts of each recording."""
    if not recordings:
        return {}
    return dict(zip(recordings[0].channel_names, np.sum(counts, axis=0).tolist(), strict=True))


def altered(folder: Path, files: Iterable[str], published: Mapping[str, PublishedFile]) -> list[str]:
    """Names the files that are not the published ones, by size, and by SHA-256 where the size agrees.

    Args:
      folder: the data set's.
      files: paths within it that exist.
      published: what is known of them.

    Returns:
      A sentence per file that differs.
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
    """A sentence where a count differs from the published one."""
    return [] if came == published else [f"{came:,} of {published:,} {what}"]


def absent(what: str, names: Iterable[str], published: Sequence[str]) -> list[str]:
    """A sentence that names some of the published things that are not there."""
    gone = sorted(set(published) - set(names))
    if not gone:
        return []
    listed = ", ".join(gone[:NAMED]) + (", ..." if len(gone) > NAMED else "")
    return [f"{len(gone)} of {len(published)} {what} are missing: {listed}"]
