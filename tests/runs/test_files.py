"""Files of a run are written whole, a killed writer leaves what can be read, and a changed byte is noticed."""

import errno
import json
import os
import threading

import pytest

from dcdp_jax.errors import CheckpointError
from dcdp_jax.runs import files
from dcdp_jax.runs.files import (
    DIGESTS,
    read_recorded,
    record,
    remove_unfinished,
    sha256,
    unfinished,
    write_atomically,
    write_recorded,
)

NAME = "result.json"


class KilledError(Exception):
    """Stands for the end of the process."""


def test_what_was_written_is_read(tmp_path):
    write_recorded(tmp_path, NAME, "one")
    write_recorded(tmp_path, "config.json", b"two")
    assert read_recorded(tmp_path, NAME) == b"one"
    assert read_recorded(tmp_path, "config.json") == b"two"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", DIGESTS, NAME]


@pytest.mark.parametrize("content", [b"", b"ond", b"on", b"one\n"])
def test_a_changed_file_is_named_with_what_to_do(tmp_path, content):
    write_recorded(tmp_path, NAME, "one")
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"result.json is damaged.*restore it from a copy, or train again"):
        read_recorded(tmp_path, NAME)


def test_a_file_that_a_copy_lacks_is_named_with_what_to_do(tmp_path):
    with pytest.raises(CheckpointError, match=r"metrics.jsonl is missing: .* holds no finished run; train it first"):
        read_recorded(tmp_path, "metrics.jsonl")
    write_recorded(tmp_path, NAME, "one")
    with pytest.raises(CheckpointError, match=r"metrics.jsonl is missing: restore the whole folder from a copy"):
        read_recorded(tmp_path, "metrics.jsonl")


def test_a_file_that_can_be_made_again_says_how(tmp_path):
    write_recorded(tmp_path, "robustness.json", "{}")
    (tmp_path / "robustness.json").write_text("[]")
    with pytest.raises(CheckpointError, match=r"remove it and run the command again with --mode=evaluate"):
        read_recorded(tmp_path, "robustness.json")


def test_a_file_of_an_earlier_version_is_read_unverified(tmp_path):
    (tmp_path / NAME).write_text("old")
    assert read_recorded(tmp_path, NAME) == b"old"
    write_recorded(tmp_path, "robustness.json", "{}")
    assert read_recorded(tmp_path, NAME) == b"old"


def test_the_digests_of_an_earlier_version_are_verified(tmp_path):
    for name in (NAME, "other"):
        (tmp_path / name).write_text("old")
    (tmp_path / DIGESTS).write_text(json.dumps({name: sha256(b"old") for name in (NAME, "other")}))
    assert read_recorded(tmp_path, NAME) == b"old"
    (tmp_path / NAME).write_text("new")
    with pytest.raises(CheckpointError, match=f"{NAME} is damaged: it has changed since it was written"):
        read_recorded(tmp_path, NAME)
    write_recorded(tmp_path, NAME, "newer")
    assert read_recorded(tmp_path, NAME) == b"newer"
    assert read_recorded(tmp_path, "other") == b"old"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"sha256": "0", "files": {}}', "\xff", "[" * 100_000])
def test_damaged_digests_are_named(tmp_path, content):
    write_recorded(tmp_path, NAME, "one")
    (tmp_path / DIGESTS).write_text(content, encoding="latin-1")
    with pytest.raises(CheckpointError, match=r"files.json is damaged"):
        read_recorded(tmp_path, NAME)


@pytest.mark.parametrize("moves", range(4))
@pytest.mark.parametrize("kills", [1, 2])
def test_a_kill_at_any_point_leaves_the_old_or_the_new(tmp_path, monkeypatch, moves, kills):
    """Also twice in a row, where the table may hold a digest that never became that of the file."""
    write_recorded(tmp_path, NAME, "old")
    for kill in range(kills):
        left = iter(range(moves))

        def replace(source, target, left=left, move=os.replace):
            if next(left, None) is None:
                raise KilledError
            move(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(files.os, "replace", replace)
            try:
                write_recorded(tmp_path, NAME, f"new {kill}")
            except KilledError:
                assert moves < 3
    expected = {"old"} if moves < 2 else {f"new {kills - 1}"}
    assert read_recorded(tmp_path, NAME).decode() in expected
    write_recorded(tmp_path, NAME, "again")
    assert read_recorded(tmp_path, NAME) == b"again"


def test_a_reader_beside_a_writer_finds_the_old_or_the_new(tmp_path):
    write_recorded(tmp_path, NAME, "0")
    stop = threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            write_recorded(tmp_path, NAME, str(number))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        found = [int(read_recorded(tmp_path, NAME)) for _ in range(300)]
    finally:
        stop.set()
        writer.join()
    assert found == sorted(found)


def test_a_finished_log_is_recorded_where_it_is(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("1\n")
    record(tmp_path, "metrics.jsonl")
    (tmp_path / "metrics.jsonl").write_text("1\n2\n")
    with pytest.raises(CheckpointError, match=r"metrics.jsonl is damaged"):
        read_recorded(tmp_path, "metrics.jsonl")


def test_what_killed_processes_left_is_removed(tmp_path):
    (tmp_path / "checkpoints" / "1").mkdir(parents=True)
    kept = [tmp_path / "report.html", tmp_path / "checkpoints" / "1" / DIGESTS]
    for path in kept:
        path.write_text("whole")
        unfinished(path).write_text("half")
    unfinished(tmp_path / "export").mkdir()
    remove_unfinished(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
    assert not unfinished(tmp_path / "export").exists()


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path / NAME}'"):
        write_atomically(tmp_path / NAME, "text")
    assert not list(tmp_path.iterdir())
