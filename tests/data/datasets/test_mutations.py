"""Every reader on damaged files: an error that names the file, or only the damaged lines differ."""

import importlib
from typing import NamedTuple

import numpy as np
import pytest

from dcdp_jax.data import text
from dcdp_jax.data.datasets import DATASETS, uci_har
from dcdp_jax.data.text import is_finite_number
from dcdp_jax.errors import DataError
from tests.data.datasets import small

# Not those whose files are binary: a changed byte of a number is another number.
PUBLISHED = [name for name, spec in DATASETS.items() if spec.source and name not in ("usc_had", "realworld")]
HEADED = ("harth", "motionsense")
TOKENS = [
    b"NaN",
    b"inf",
    b"-inf",
    b"1e999",
    b"",
    b"abc",
    b"1_0",
    b"0x1F",
    b"1.2.3",
    b"--1",
    b"\xc3\xa9",
    b"9" * 30,
    b"1;",
    b"7",
]


def positions(data, characters):
    return np.flatnonzero(np.isin(np.frombuffer(data, np.uint8), list(characters)))


def replace_token(rng, data):
    separators = positions(data, b" ,;\n")
    i = int(rng.integers(len(separators) - 1))
    token = TOKENS[rng.integers(len(TOKENS))]
    return data[: separators[i] + 1] + token + data[separators[i + 1] :]


def change_byte(rng, data):
    i = int(rng.integers(len(data)))
    return data[:i] + bytes([rng.integers(256)]) + data[i + 1 :]


def change_digit(rng, data):
    i = rng.choice(positions(data, b"0123456789.-"))
    return data[:i] + b"0123456789.-e"[(k := int(rng.integers(13))) : k + 1] + data[i + 1 :]


def delete_byte(rng, data):
    i = int(rng.integers(len(data)))
    return data[:i] + data[i + 1 :]


def insert_byte(rng, data):
    i = int(rng.integers(len(data) + 1))
    return data[:i] + bytes([rng.choice(list(b" ,;\n\r\t\x00\xff5.-e"))]) + data[i:]


def truncate(rng, data):
    return data[: int(rng.integers(len(data)))]


def on_lines(change):
    def mutate(rng, data):
        lines = data.splitlines(keepends=True)
        change(lines, int(rng.integers(len(lines))))
        return b"".join(lines)

    return mutate


def delete_line(lines, i):
    del lines[i]


def repeat_line(lines, i):
    lines.insert(i, lines[i])


def swap_lines(lines, i):
    lines[i : i + 2] = lines[i : i + 2][::-1]


def blank_line(lines, i):
    lines.insert(i, b"\n")


def join_lines(lines, i):
    lines[i] = lines[i].rstrip(b"\n")


def other_encoding(rng, data):
    return data.decode().encode(["utf-16", "utf-32", "utf-8-sig"][rng.integers(3)])


def windows_line_ends(rng, data):
    return data.replace(b"\n", b"\r\n")


LINE_CHANGES = [on_lines(c) for c in (delete_line, repeat_line, swap_lines, blank_line, join_lines)]
BYTE_CHANGES = [replace_token, change_byte, change_digit, delete_byte, insert_byte, truncate]
FILE_CHANGES = [other_encoding, windows_line_ends, lambda rng, data: b"", lambda rng, data: None]


class Samples(NamedTuple):
    """All samples of a reading in order of their number: number, values without it, labels and tracks, owner."""

    number: np.ndarray
    values: np.ndarray
    labels: np.ndarray
    owner: np.ndarray


def samples(reading):
    labels = [np.stack([r.labels, *r.tracks.values()], axis=1) for r in reading]
    owners = [np.full(len(r.labels), f"{r.subject}/{r.run}", "U16") for r in reading]
    signals = np.concatenate([r.signals for r in reading])
    order = np.argsort(signals[:, 0], kind="stable")
    parts = (signals[:, 0], signals[:, 1:], np.concatenate(labels), np.concatenate(owners))
    return Samples(*(part[order] for part in parts))


def unchanged_lines(before, after):
    """How many lines at the beginning and at the end of a file are what they were; a broken last line is not."""
    a, b = before.split(b"\n"), after.replace(b"\r\n", b"\n").split(b"\n")
    shorter = min(len(a), len(b))
    head = next((i for i in range(shorter) if a[i] != b[i]), shorter)
    tail = next((i for i in range(shorter - head) if a[-1 - i] != b[-1 - i]), shorter - head)
    return head, tail


def expected_numbers(name, path, text_before, text_after):
    """Numbers of the samples that a changed file must not have changed, given which file of the data set it is."""
    head, tail = unchanged_lines(text_before, text_after)
    rows = text_before.split(b"\n")
    kept = [*range(head), *range(len(rows) - tail, len(rows))]
    if name in HEADED:
        kept = [row for row in kept if row]
    if name == "uci_har":
        first = 1000 if path.parent.name == "train" or path.parent.parent.name == "train" else 5000
        return {first + 128 * row + k for row in kept if rows[row] for k in range(128)}
    if name == "hapt" and path.name != "labels.txt":
        return {1000 * int(path.name.split("exp")[1][:2]) + row for row in kept if rows[row]}
    if name == "hapt":
        numbers = {1000 + i for i in range(24)} | {2000 + i for i in range(16)}
        changed = [*rows[head : len(rows) - tail], *text_after.split(b"\n")[head:]]
        for line in changed:
            fields = line.split()
            if len(fields) == 5 and all(is_finite_number(f) for f in fields):
                experiment, _, _, start, end = (int(float(f)) for f in fields)
                numbers -= {1000 * experiment + i - 1 for i in range(start, end + 1)}
        return numbers
    column = {
        "opportunity": (b" ", 1),
        "pamap2": (b" ", 4),
        "dsads": (b",", 0),
        "wisdm": (b",", 3),
        "mhealth": (b"\t", 0),
        "motionsense": (b",", 10),
        "harth": (b",", 2 if path.stem == "S015" else 1),
    }[name]
    records = [r for row in kept for r in rows[row].split(b";") if r.strip(b"\n")]
    return {float(r.split(column[0])[column[1]]) for r in records}


def measured(name, before, base):
    """(n, c - 1) bool: values that were measured; those that were filled may change with their neighbours."""
    if name not in ("opportunity", "pamap2"):
        return np.ones(base.values.shape, bool)
    number, *columns = importlib.import_module(f"dcdp_jax.data.datasets.{name}").CHANNEL_COLUMNS
    masks = {}
    for data in before.values():
        for row in data.splitlines():
            fields = row.split(b" ")
            masks[float(fields[number])] = [fields[c] != b"NaN" for c in columns]
    return np.array([masks[n] for n in base.number.tolist()])


def belongs(name, path, base):
    """(n,) bool: whether a sample comes from this file, or is labelled by it."""
    if name == "dsads":
        first = 10_000 * int(path.parts[-3][1:]) + 125 * int(path.stem[1:])
        return (base.number >= first) & (base.number < first + 125)
    if name in ("mhealth", "harth", "motionsense"):
        file = {
            "mhealth": lambda subject, run: f"/mHealth_subject{subject}.log",
            "harth": lambda subject, run: f"/S{int(subject):03d}.csv",
            "motionsense": lambda subject, run: f"/{run}/sub_{subject}.csv",
        }[name]
        return np.array([path.as_posix().endswith(file(*owner.split("/"))) for owner in base.owner.tolist()])
    test = {
        "uci_har": lambda run: run in path.as_posix(),
        "opportunity": lambda run: path.stem.endswith(f"-{run}"),
        "pamap2": lambda run: path.parent.name == run,
        "wisdm": lambda run: True,
        "hapt": lambda run: path.name == "labels.txt" or run in path.name,
    }[name]
    return np.array([test(owner.split("/")[1]) for owner in base.owner.tolist()])


@pytest.mark.parametrize("mutations", [80, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", PUBLISHED)
def test_damaged_files_are_errors_or_differ_where_damaged(name, mutations, tmp_path, monkeypatch):
    folder = small.write(name, tmp_path)
    reader = DATASETS[name]
    before = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    intact = reader.read(folder)
    base = samples(intact)
    mask = measured(name, before, base)
    rng = np.random.default_rng(1)
    outcomes = {"error": 0, "read": 0}
    paths = list(before)
    splits = {split: uci_har.read_split(folder / split, split) for split in ("train", "test") if name == "uci_har"}
    read_split = uci_har.read_split
    for i in range(mutations):
        monkeypatch.setattr(text, "BLOCK", (1 << 20, 2500)[i % 2])
        path = paths[rng.integers(len(paths))]
        kinds = (BYTE_CHANGES, BYTE_CHANGES, LINE_CHANGES, FILE_CHANGES)[i // 2 % 4]
        data = kinds[rng.integers(len(kinds))](rng, before[path])
        if data is None:
            path.unlink()
        else:
            path.write_bytes(data)
        # Half of UCI-HAR's 22 files are not in the mutated split, and need not be parsed every time.
        monkeypatch.setattr(
            uci_har, "read_split", lambda at, s, path=path: read_split(at, s) if at in path.parents else splits[s]
        )
        message = ""
        try:
            reading = reader.read(folder)
        except DataError as error:
            message = str(error)
        if message:
            outcomes["error"] += 1
            assert path.name in message or data is None, (message, path)
        else:
            outcomes["read"] += 1
            check(name, path, before[path], data or b"", intact, base, mask, reading)
        path.write_bytes(before[path])
    assert min(outcomes.values()) > mutations / 20, outcomes


def check(name, path, before, after, intact, base, mask, reading):
    got = samples(reading)
    kept = np.isin(base.number, list(expected_numbers(name, path, before, after))) | ~belongs(name, path, base)
    first = np.searchsorted(got.number, base.number[kept], side="left")
    last = np.searchsorted(got.number, base.number[kept], side="right")
    assert (last > first).all(), (path, before, after)
    where = np.flatnonzero(kept)
    equal = (
        ((got.values[first] == base.values[where]) | ~mask[where]).all(axis=1)
        & (got.labels[first] == base.labels[where]).all(axis=1)
        & (got.owner[first] == base.owner[where])
    )
    # A damaged line may have come to bear the number of another one.
    for i, a, b in zip(where[~equal], first[~equal], last[~equal], strict=True):
        same = [
            np.array_equal(got.values[j][mask[i]], base.values[i][mask[i]])
            and np.array_equal(got.labels[j], base.labels[i])
            and got.owner[j] == base.owner[i]
            for j in range(a, b)
        ]
        assert any(same), (path, base.number[i], before, after)
    if len(got.number) < len(base.number):
        assert (reading.notes, reading.missing) != (intact.notes, intact.missing)
    if name in ("uci_har", "hapt"):
        assert len(got.number) <= len(base.number)
    else:
        head, tail = unchanged_lines(before, after)
        rows = after.replace(b"\r", b"\n").split(b"\n")
        changed = rows[head : len(rows) - tail]
        assert len(got.number) - kept.sum() <= sum(line.count(b";") + 1 for line in changed)
