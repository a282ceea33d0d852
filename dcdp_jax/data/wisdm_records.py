"""Parses the text of WISDM v1.1, records `user,activity,timestamp,x,y,z;`, and leaves out malformed ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import csv

from dcdp_jax.data.text import in_blocks, is_finite_number, show, unreadable
from dcdp_jax.errors import DataError

CLASS_NAMES = ("walking", "jogging", "upstairs", "downstairs", "sitting", "standing")
USERS = 36
MALFORMED_LIMIT = 1e-3
TYPES = {
    "user": pa.int16(),
    "activity": pa.dictionary(pa.int32(), pa.string()),
    "time": pa.int64(),
    "x": pa.float32(),
    "y": pa.float32(),
    "z": pa.float32(),
}


class Records(NamedTuple):
    """The columns of the file."""

    user: np.ndarray  # (n,) int16
    label: np.ndarray  # (n,) int8 class index
    time: np.ndarray  # (n,) int64 nanoseconds
    acceleration: np.ndarray  # (n, 3) float32

    def where(self, chosen: np.ndarray) -> "Records":
        """Returns the records chosen by a mask or by indices."""
        return Records(*(column[chosen] for column in self))


def read_records(path: Path) -> tuple[Records, list[str]]:
    """Returns all records of the file in its order, and a text for each that is left out since it has not six fields.

    Raises:
      DataError: the file is absent, empty or ends within a record; a field is not what it should be; or more than one
        record in a thousand does not have six fields.
    """
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - 200, 0))
            end = file.read()
        if not end.endswith((b"\n", b";")) and end.strip():
            raise DataError(f"{path}: ends within a record, {show(end[-40:])}; fetch the file again")
        blocks = in_blocks(path, lambda text, position: parse_block(path, text, position))
    except OSError as error:
        raise unreadable(path, error) from error
    malformed = [text for _, texts in blocks for text in texts]
    if not blocks or not sum(len(records.user) for records, _ in blocks):
        raise DataError(f"{path}: empty" if not malformed else f"{path}, {malformed[0]}")
    records = Records(*(np.concatenate(column) for column in zip(*(block for block, _ in blocks), strict=True)))
    if len(malformed) > max(MALFORMED_LIMIT * len(records.user), 1):
        raise DataError(f"{path}, {malformed[0]}; so have {len(malformed):,} records of {len(records.user):,}")
    return records, malformed


def parse_block(path: Path, text: bytes, position: int) -> tuple[Records, list[str]]:
    """Returns the records of some lines, and a text for each that is left out."""
    for attempt in (text, text.replace(b",;", b";")):
        try:
            return parse(attempt), []
        except (pa.ArrowInvalid, LookupError):
            continue
    with path.open("rb") as file:
        first_line = file.read(position).count(b"\n") + 1
    records, malformed = well_formed(path, text, first_line)
    try:
        return parse(records), malformed
    except (pa.ArrowInvalid, LookupError) as error:  # every field was checked, so this is not expected
        raise DataError(f"{path}, from line {first_line}: {error}") from error


def parse(text: bytes) -> Records:
    """Parses a text without malformed records; raises ArrowInvalid or LookupError where there is one."""
    if not text.strip(b"\r\n;"):
        return Records(np.empty(0, np.int16), np.empty(0, np.int8), np.empty(0, np.int64), np.empty((0, 3), np.float32))
    characters = np.frombuffer(text, np.uint8)
    lines = characters - (characters == ord(";")) * np.uint8(ord(";") - ord("\n"))
    table = csv.read_csv(
        pa.BufferReader(lines),
        csv.ReadOptions(column_names=list(TYPES), block_size=len(text) + 1, use_threads=False),
        csv.ParseOptions(delimiter=",", quote_char=False, ignore_empty_lines=True),
        csv.ConvertOptions(column_types=TYPES, null_values=[]),
    )
    user = table["user"].to_numpy()
    acceleration = np.stack([table[axis].to_numpy() for axis in "xyz"], axis=1)
    if user.min() < 1 or user.max() > USERS or not np.isfinite(acceleration).all():
        raise LookupError
    activity = table["activity"].combine_chunks()
    index = {name: i for i, name in enumerate(CLASS_NAMES)}
    labels = np.array([index[name.lower()] for name in activity.dictionary.to_pylist()], np.int8)
    return Records(user, labels[activity.indices.to_numpy()], table["time"].to_numpy(), acceleration)


def well_formed(path: Path, text: bytes, first_line: int) -> tuple[bytes, list[str]]:
    """Returns the records with six fields, one per line, and a text for each other record."""
    records, malformed = [], []
    for number, line in enumerate(text.split(b"\n"), first_line):
        for record in line.split(b";"):
            fields = [field.strip() for field in record.split(b",")]
            if fields == [b""]:
                continue
            if len(fields) == 7 and not fields[6]:
                fields.pop()
            if fault := first_fault(fields):
                raise DataError(f"{path}, line {number}: {fault}")
            if len(fields) == 6 and all(fields):
                records.append(b",".join(fields))
            else:
                malformed.append(f"line {number}: {show(record.strip())} has {sum(map(bool, fields))} fields, not 6")
    return b"\n".join(records), malformed


def first_fault(fields: Sequence[bytes]) -> str | None:
    """Describes the first field with wrong content; None if there is none. The number of fields is not checked."""
    for name, field in zip(TYPES, fields, strict=False):
        if not field:
            continue
        if name == "user" and not (field.isdigit() and 1 <= int(field) <= USERS):
            return f"user {show(field)}, expected 1 to {USERS}"
        if name == "activity" and field.lower().decode("ascii", "replace") not in CLASS_NAMES:
            return f"activity {show(field)}, expected one of {', '.join(CLASS_NAMES)}"
        if name == "time" and not (field.isdigit() and int(field) < 1 << 63):
            return f"timestamp {show(field)}, expected whole nanoseconds"
        if name in "xyz" and not is_finite_number(field):
            return f"{name} {show(field)} is not a finite number"
    return None
