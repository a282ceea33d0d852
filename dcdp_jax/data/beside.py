"""Joins the files of one recording whose sensors have files of their own."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from ml_collections import ConfigDict

from dcdp_jax.data.table_cells import TIME, check_zones
from dcdp_jax.data.table_files import read_file, read_header
from dcdp_jax.errors import DataError

LINE = "\0line"  # column of a frame for the line in the file; no file can have one of this name


def join_files(
    path: Path, table: ConfigDict, channels: Sequence[str], texts: Sequence[str], folder: Path | None
) -> pd.DataFrame:
    """Reads a file and the further files of its recording, and merges their rows by time.

    Returns a frame as `read_file` does, whose `columns` are those of all files except the times. Rows with the same
    time become one row; any other row has values only in the channels of its own file. A row has the line number and
    the texts of the row of the first file that is nearest in time.
    """
    if not table.beside:
        return read_file(path, channels, texts, table.time, table)
    frames: list[pd.DataFrame] = []
    names: list[str] = []
    doubts: dict[str, str] = {}
    left = list(channels)
    for file, prefix in [(path, ""), *files_beside(path, table, folder)]:
        columns = {prefix + name: name for name in read_header(file, table)}
        own = [channel for channel in left if channel in columns]
        left = [channel for channel in left if channel not in own]
        if frames and not own:
            raise DataError(
                f"{file}: none of its columns is a further channel; by data.table.beside they are {', '.join(columns)}"
            )
        frame = read_file(file, [columns[c] for c in own], [] if frames else texts, table.time, table)
        if TIME not in frame:
            raise DataError("data.table.beside joins files by their time; set data.table.time or data.table.preamble")
        if (back := np.diff(frame[TIME].to_numpy()) < 0).any():
            raise DataError(f"{file}, line {frame.index[1:][back][0]}: time goes back; sort the rows")
        if frames:
            check_zones(file, frame, path, frames[0])
        names += [column for column, name in columns.items() if name != table.time]
        doubts |= frame.attrs["doubts"]
        frames.append(frame.rename(columns={columns[c]: c for c in own})[[TIME, *own, *([] if frames else texts)]])
    if left:
        raise DataError(f"{path}: no column {left[0]!r} in it or in the files beside it")
    first = frames[0][[TIME, *texts]].rename_axis(LINE).reset_index()
    signals = [frame.drop(columns=texts, errors="ignore").set_index(TIME) for frame in frames]
    keyed = [frame.set_index(frame.groupby(TIME).cumcount().to_numpy(), append=True) for frame in signals]
    joined = pd.concat(keyed, axis=1).sort_index().droplevel(1).reset_index()
    whole = pd.merge_asof(joined, first, on=TIME, direction="nearest").set_index(LINE)
    whole.attrs = frames[0].attrs | {"columns": names, "doubts": doubts}
    return whole


def files_beside(path: Path, table: ConfigDict, folder: Path | None) -> list[tuple[Path, str]]:
    """Returns the further files of a recording, each with the prefix of its column names."""
    base = folder if folder and path.is_relative_to(folder) else path.parent
    below = path.relative_to(base).as_posix()
    files = [(base / below.replace(old, new), prefix) for old, new, prefix in table.beside]
    for (file, _), (old, new, _) in zip(files, table.beside, strict=True):
        if file == path or not file.is_file():
            raise DataError(f"{path}: no file {file} beside it; data.table.beside puts {new!r} for {old!r} in its path")
    return files
