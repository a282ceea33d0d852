"""Labels of the user's tables in files of their own, beside them: intervals with a start, an end and a label."""

from pathlib import Path

import numpy as np
import pandas as pd
from ml_collections import ConfigDict

from dcdp_jax.data.names import clean_names, stem
from dcdp_jax.data.table_cells import TIME, check_zones
from dcdp_jax.data.table_checks import first_names
from dcdp_jax.data.table_files import read_file
from dcdp_jax.errors import DataError


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
    names = clean_names(starts["label"]).to_numpy(object)[order]
    if (wrong := ends <= begins).any():
        raise DataError(f"{file}, line {lines[wrong][0]}: the end is not after the start")
    if (wrong := begins[1:] < ends[:-1]).any():
        raise DataError(f"{file}, line {lines[1:][wrong][0]}: begins before the end of line {lines[:-1][wrong][0]}")
    for other in (starts, stops):
        check_zones(file, other, path, frame)
    time = frame[TIME].to_numpy()
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
