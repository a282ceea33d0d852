"""Compares the files of a published data set with what was published."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from dcdp_jax.data.download import Source, file_sha256
from dcdp_jax.data.protocols import Divide
from dcdp_jax.data.recording import Channel, Recording, Recordings
from dcdp_jax.data.spec import DatasetSpec
from dcdp_jax.errors import DataError

NAMED = 5  # names in a sentence


def find_data_files(folder: Path, pattern: str) -> list[Path]:
    """Returns the files that match a pattern, sorted by path; raises DataError where there is none."""
    paths = sorted(path for path in folder.glob(pattern) if path.is_file())
    if not paths:
        raise DataError(f"{folder}: no files {pattern}")
    return paths


def described(
    recordings: list[Recording],
    class_names: tuple[str, ...],
    missing: Sequence[str],
    notes: Sequence[str] = (),
    missing_values: Mapping[str, int] | None = None,
) -> Recordings:
    """Returns `Recordings`, with a note on the numbers of recordings, subjects and samples before the other notes."""
    labels = np.concatenate([r.labels for r in recordings])
    counts = np.bincount(labels[labels >= 0], minlength=len(class_names))
    classes = ", ".join(f"{name} {count:,}" for name, count in zip(class_names, counts, strict=True))
    found = (
        f"{len(recordings)} recordings of {len({r.subject for r in recordings})} subjects, {len(labels):,} samples: "
        f"{classes}, unlabelled {np.count_nonzero(labels < 0):,}"
    )
    return Recordings(recordings, class_names, {}, (found, *notes), tuple(missing), missing_values or {})


def file_by_file(
    read_file: Callable[[Path, re.Match[str]], Recording],
    *,
    source: Source,
    class_names: tuple[str, ...],
    channels: tuple[Channel, ...],
    rate: float,
    protocols: Mapping[str, Divide],
    name: str,
    files: Sequence[str],
    expected: str,
    rows: int = 0,
) -> DatasetSpec:
    """Returns the specification of a data set with one recording per file.

    The recordings are in the order of their subjects, those of one subject by the numbers in the names of their runs.

    Args:
      read_file: Function from a path below the publisher's folder, and the match of `name` in it, to the recording.
      source: See `DatasetSpec`.
      class_names: See `DatasetSpec`.
      channels: See `DatasetSpec`.
      rate: See `DatasetSpec`.
      protocols: See `DatasetSpec`.
      name: Regular expression of the end of a path.
      files: Paths of the published files below the publisher's folder.
      expected: Description of the published files, for messages.
      rows: Number of rows of the published files together; 0 if it is not known.
    """

    def find(path: Path) -> re.Match[str] | None:
        return re.search(f"/{name}$", path.absolute().as_posix())

    def read_path(path: Path) -> Recording:
        match = find(path)
        if match is None or match[0][1:] not in files:
            raise DataError(f"{path}: expected {expected}")
        return read_file(path, match)

    def read(folder: Path) -> Recordings:
        paths = find_data_files(folder, source.pattern)
        recordings = sorted(map(read_path, paths), key=lambda r: (r.subject, *map(int, re.findall(r"\d+", r.run))))
        short = missing_names("files", [path.relative_to(folder).as_posix() for path in paths], files)
        if rows:
            short += shortage("lines", sum(len(r.labels) for r in recordings), rows)
        return described(recordings, class_names, short)

    return DatasetSpec(
        protocols,
        source=source,
        read=read,
        read_one=lambda path: [read_path(path)] if find(path) else None,
        example=files[0],
        class_names=class_names,
        channels=channels,
        rate=rate,
    )


def gather(
    folder: Path,
    files: Mapping[str, tuple[Recording, np.ndarray]],
    class_names: tuple[str, ...],
    published: Mapping[str, tuple[int, str]],
    shortfall: Callable[[Sequence[Recording]], list[str]],
) -> Recordings:
    """Combines the recordings of a data set with one recording per file.

    Args:
      folder: The publisher's folder.
      files: {path below the folder: recording, and (c,) number of missing values of each channel}.
      class_names: See `Recordings`.
      published: {path below the folder: size in bytes and SHA-256 of the published file}.
      shortfall: Function from the recordings to what they lack of the published ones, one sentence each.
    """
    recordings = [recording for recording, _ in files.values()]
    missing = np.sum([counts for _, counts in files.values()], axis=0)
    notes = [
        f"{name}: {counts.sum():,} missing values filled, {len(recording.starts) - 1} gaps in time"
        for name, (recording, counts) in files.items()
    ]
    short = [*shortfall(recordings), *altered_files(folder, files, published)]
    missing_values = dict(zip(recordings[0].channel_names, missing.tolist(), strict=True))
    return described(recordings, class_names, short, notes, missing_values)


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
