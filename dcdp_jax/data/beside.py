"""Files beside the user's tables: further sensors of the same recording, and annotations with its labels.

An annotation is an interval with a start, an end and a label.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from ml_collections import ConfigDict

from dcdp_jax.data.names import clean_names, stem
from dcdp_jax.data.table_cells import SECONDS, TIME, check_zones
from dcdp_jax.data.table_checks import first_names
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


def annotations_of(path: Path, table: ConfigDict) -> Path:
    """Returns the path of the annotations of a table, whether or not the file exists."""
    return path.with_name(table.annotations.replace("{stem}", stem(path)))


def annotate(path: Path, table: ConfigDict, frame: pd.DataFrame) -> np.ndarray:
    """Returns a label for each row of a frame of `read_file`, from the annotations of its file; '' outside of them.

    Intervals without a row are added to the frame's `doubts`.

    Raises:
      DataError: the file is missing, an interval lacks a field, is empty or overlaps another, or none has a row.
    """
    file = annotations_of(path, table)
    if not file.is_file():
        raise DataError(f"{path}: no file {file} beside it, which data.table.annotations={table.annotations!r} names")
    plain = table.copy_and_resolve_references()
    plain.unlock()
    plain.update({"skip_lines": 0, "units_rows": 0, "header": (), "preamble": "", "line_end": ""})
    starts, stops = (read_file(file, (), ("label",), name, plain) for name in ("start", "end"))
    if len(differing := starts.index.symmetric_difference(stops.index)):
        raise DataError(f"{file}, line {differing[0]}: expected a start, an end and a label")
    order = np.argsort(starts[TIME].to_numpy(), kind="stable")
    begins, ends, lines = (column.to_numpy()[order] for column in (starts[TIME], stops[TIME], starts.index))
    time = frame[TIME].to_numpy()
    if time.dtype == np.int64 and begins.dtype != np.int64:  # those of the table are dates, or from its preamble
        begins, ends = (np.rint(part * SECONDS[table.time_unit] * 1e9).astype(np.int64) for part in (begins, ends))
    names = clean_names(starts["label"]).to_numpy(object)[order]
    if (wrong := ends <= begins).any():
        raise DataError(f"{file}, line {lines[wrong][0]}: the end is not after the start")
    if (wrong := begins[1:] < ends[:-1]).any():
        raise DataError(f"{file}, line {lines[1:][wrong][0]}: begins before the end of line {lines[:-1][wrong][0]}")
    for other in (starts, stops):
        check_zones(file, other, path, frame)
    at = np.searchsorted(begins, time, side="right") - 1
    inside = (at >= 0) & (time < ends[at])
    if not inside.any():
        ranges = (column.astype("datetime64[ns]") if column.dtype == np.int64 else column for column in (begins, time))
        (first, last), (start, stop) = ((column.min(), column.max()) for column in ranges)
        raise DataError(
            f"{file}: no row of {path.name} is within its intervals, which start from {first} to {last}, and the rows "
            f"are from {start} to {stop}: both must have the clock and the unit of data.table.time"
        )
    if len(empty := np.setdiff1d(lines, lines[at[inside]])):
        shown = first_names(list(map(str, empty.tolist())))
        frame.attrs["doubts"]["annotations hold no row of their table"] = f"{file}, line {shown}"
    return np.where(inside, names[at], "").astype(object)
