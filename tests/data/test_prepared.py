"""Prepared data is what the publisher's files hold, and is prepared again when these change or it is damaged."""

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dcdp_jax.data import load_recordings, prepared
from dcdp_jax.data.datasets import DATASETS
from dcdp_jax.data.prepared import read_dataset
from dcdp_jax.data.recording import fingerprint
from dcdp_jax.errors import ConfigError, DataError
from tests.data.datasets import small
from tests.e2e.running import WAIT_SECONDS

PUBLISHED = [name for name, spec in DATASETS.items() if spec.source]


def forbid_reading(monkeypatch, name):
    """Makes the data set's `read` fail."""

    def read(folder):
        raise AssertionError(f"{folder} is parsed again")

    monkeypatch.setitem(DATASETS, name, dataclasses.replace(DATASETS[name], read=read))


@pytest.mark.parametrize("name", PUBLISHED)
def test_prepared_recordings_are_the_reader_s(name, tmp_path):
    folder = small.write(name, tmp_path / "raw")
    expected = DATASETS[name].read(folder)
    first = read_dataset(name, str(folder), str(tmp_path / "cache"), None)
    second = read_dataset(name, str(folder), str(tmp_path / "cache"), None)
    for found in (first, second):
        assert fingerprint(found) == fingerprint(expected)
        assert [r.tracks.keys() for r in found] == [r.tracks.keys() for r in expected]
        assert (found.notes, found.missing) == (expected.notes, expected.missing)
        assert found.missing_values == expected.missing_values
        assert found.class_names == expected.class_names == DATASETS[name].class_names
    assert second[0].signals.dtype == np.float32
    assert len({np.unique(r.labels).max() < len(second.class_names) for r in second}) == 1


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_second_start_does_not_parse(name, tmp_path, monkeypatch):
    folder = small.write(name, tmp_path / "raw")
    load_recordings(name, str(folder), cache_dir=str(tmp_path / "cache"))
    forbid_reading(monkeypatch, name)
    load_recordings(name, str(folder), cache_dir=str(tmp_path / "cache"))


def test_a_cache_among_the_files_is_no_change_of_them(tmp_path, monkeypatch):
    folder = small.write("opportunity", tmp_path)
    load_recordings("opportunity", str(folder), cache_dir=str(folder / "cache"))
    forbid_reading(monkeypatch, "opportunity")
    load_recordings("opportunity", str(folder), cache_dir=str(folder / "cache"))


def test_changed_files_are_read_again(tmp_path):
    folder = small.write("pamap2", tmp_path / "raw")
    before = load_recordings("pamap2", str(folder), cache_dir=str(tmp_path / "cache"))
    small.write("pamap2", folder, seed=1)
    after = load_recordings("pamap2", str(folder), cache_dir=str(tmp_path / "cache"))
    assert fingerprint(before) != fingerprint(after)


def test_a_reader_s_error_reaches_the_user_and_nothing_is_kept(tmp_path):
    folder = small.write("hapt", tmp_path / "raw")
    labels = folder / "RawData" / "labels.txt"
    intact = labels.read_text()
    labels.write_text("1 1 99 1 2\n")
    for _ in range(2):
        with pytest.raises(DataError, match=r"labels.txt, line 1: activity 99"):
            load_recordings("hapt", str(folder), cache_dir=str(tmp_path / "cache"))
    labels.write_text(intact)
    assert len(load_recordings("hapt", str(folder), cache_dir=str(tmp_path / "cache"))) == 2


def test_names():
    assert set(PUBLISHED) == set(DATASETS) - {"synthetic", "table"}
    with pytest.raises(
        ConfigError, match=r"data.name='pamap3' is not one of dsads, hapt, harth, mhealth, motionsense, opportunity"
    ):
        load_recordings("pamap3")


@pytest.mark.parametrize("name", PUBLISHED)
def test_channels_and_classes_are_named_once(name):
    spec = DATASETS[name]
    assert len({c.name for c in spec.channels}) == len(spec.channels)
    assert len(set(spec.class_names)) == len(spec.class_names)
    assert {c.group for c in spec.channels} <= {"acc", "gyro", "mag", "orientation"}


def test_the_state_of_a_folder(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("1")
    cache = tmp_path / "cache"
    before = prepared.files_key(tmp_path, cache)
    cache.mkdir()
    (cache / "prepared.txt").write_text("1")
    assert prepared.files_key(tmp_path, cache) == before
    monkeypatch.chdir(tmp_path)
    assert prepared.files_key(tmp_path, Path("cache")) == prepared.files_key(Path("."), cache) == before
    (tmp_path / "a.txt").write_text("12")
    assert prepared.files_key(tmp_path, cache) != before


def test_one_line_says_what_is_prepared(tmp_path, capfd):
    folder = small.write("hapt", tmp_path / "raw")
    load_recordings("hapt", str(folder), cache_dir=str(tmp_path / "cache"))
    load_recordings("hapt", str(folder), cache_dir=str(tmp_path / "cache"))
    out, err = capfd.readouterr()
    assert out == ""
    (target,) = (p for p in (tmp_path / "cache" / "prepared").iterdir() if p.is_dir())
    assert err == f"preparing hapt from {folder}, once, into {target}\n"


def damaged_copies(target, rng, count):
    """Yields functions that damage the prepared files, each one file, in another way each time."""
    paths = sorted(p for p in target.rglob("*") if p.is_file())
    for i in range(count):
        path = paths[i % len(paths)]
        body = bytearray(path.read_bytes())
        at = int(rng.integers(len(body)))
        match i // len(paths) % 4:
            case 0 | 1:
                body[at] ^= 1 << int(rng.integers(8))
            case 2:
                del body[at:]
            case 3:
                body.insert(at, int(rng.integers(256)))
        yield path, bytes(body)


@pytest.mark.parametrize("count", [32, pytest.param(400, marks=pytest.mark.slow)])
def test_damaged_prepared_data_is_prepared_again(count, tmp_path, capfd):
    folder, cache = small.write("hapt", tmp_path / "raw"), tmp_path / "cache"
    expected = fingerprint(load_recordings("hapt", str(folder), cache_dir=str(cache)))
    (target,) = (p for p in (cache / "prepared").iterdir() if p.is_dir())
    intact = {p.relative_to(target): p.read_bytes() for p in target.rglob("*") if p.is_file()}
    assert len(intact) >= 4
    for path, body in damaged_copies(target, np.random.default_rng(0), count):
        path.write_bytes(body)
        capfd.readouterr()
        assert fingerprint(load_recordings("hapt", str(folder), cache_dir=str(cache))) == expected
        lines = capfd.readouterr().err.splitlines()
        assert lines[0] == f"prepared data in {target} is damaged, and is prepared again"
        assert [line.split()[0] for line in lines] == ["prepared", "preparing"]
    path.unlink()
    assert fingerprint(load_recordings("hapt", str(folder), cache_dir=str(cache))) == expected
    assert {p.name for p in (cache / "prepared").iterdir()} == {target.name, f".{target.name}.lock"}


@pytest.mark.slow
def test_every_byte_of_prepared_data_is_compared(tmp_path):
    """What is not whole is prepared again, see the test above. The records are cut after every 64th byte."""
    folder, cache = small.write("hapt", tmp_path / "raw"), tmp_path / "cache"
    load_recordings("hapt", str(folder), cache_dir=str(cache))
    (target,) = (p for p in (cache / "prepared").iterdir() if p.is_dir())
    for path in sorted(p for p in target.rglob("*") if p.is_file()):
        content = path.read_bytes()
        with path.open("r+b", buffering=0) as file:
            for at, byte in enumerate(content):
                os.pwrite(file.fileno(), bytes([byte ^ 1 << at % 8]), at)
                assert not prepared.is_whole(target), (path, at)
                os.pwrite(file.fileno(), bytes([byte]), at)
            assert prepared.is_whole(target)
            for at in reversed(range(0, len(content), 64 if len(content) > 10_000 else 1)):
                file.truncate(at)
                assert not prepared.is_whole(target), (path, at)
        path.write_bytes(content)
    assert prepared.is_whole(target)


LOADING = """
import pathlib, sys, time
from dcdp_jax.data.recording import fingerprint
from dcdp_jax.data.prepared import read_dataset
import tensorflow_datasets

raw, cache, which, locks, *names = sys.argv[1:]
if locks == "without":
    import fcntl

    def flock(file, operation):
        raise OSError("no locks on this file system")

    fcntl.flock = flock
for name in names:
    pathlib.Path(cache, f"ready-{which}-{name}").touch()
    while len([*pathlib.Path(cache).glob(f"ready-*-{name}")]) < 2:  # both begin at the same time
        time.sleep(0.001)
    print(fingerprint(read_dataset(name, f"{raw}/{name}", cache, None)))
"""


@pytest.mark.parametrize("locks", ["with", "without"])
@pytest.mark.parametrize("pairs", [6, pytest.param(20, marks=pytest.mark.slow)])
def test_two_processes_on_one_fresh_cache(pairs, locks, tmp_path):
    expected = []
    for i in range(-(-pairs // len(PUBLISHED))):
        for name in PUBLISHED:
            small.write(name, tmp_path / f"raw{i}" / name, seed=i)
            expected.append(fingerprint(DATASETS[name].read(tmp_path / f"raw{i}" / name)))
    for i in range(-(-pairs // len(PUBLISHED))):
        own = tmp_path / f"cache{i}"
        own.mkdir()
        commands = [
            [sys.executable, "-W", "ignore", "-c", LOADING, tmp_path / f"raw{i}", own, which, locks, *PUBLISHED]
            for which in "ab"
        ]
        both = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for command in commands
        ]
        for process in both:
            out, err = process.communicate(timeout=WAIT_SECONDS)
            assert process.returncode == 0, err
            assert out.split() == expected[i * len(PUBLISHED) : (i + 1) * len(PUBLISHED)]
            assert "Traceback" not in err
        assert not [*(own / "prepared").glob(".unfinished-*")]


def test_what_a_killed_preparation_left_is_removed(tmp_path):
    folder, cache = small.write("hapt", tmp_path / "raw"), tmp_path / "cache"
    code = """
import dataclasses, os, signal, sys
from dcdp_jax.data.datasets import DATASETS
from dcdp_jax.data.prepared import load_prepared

spec = dataclasses.replace(DATASETS["hapt"], read=lambda folder: os.kill(os.getpid(), signal.SIGKILL))
load_prepared(spec, *sys.argv[1:])
"""
    killed = subprocess.run([sys.executable, "-c", code, folder, cache], capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert [*cache.rglob("*incomplete*")]
    load_recordings("hapt", str(folder), cache_dir=str(cache))
    assert not [*cache.rglob("*incomplete*")]
    assert not [*(cache / "prepared").glob(".unfinished-*")]


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    folder = small.write("hapt", tmp_path / "raw")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "prepared").write_text("a file")
    with pytest.raises(DataError, match=r"cannot be prepared .*; see --config\.data\.cache_dir"):
        load_recordings("hapt", str(folder), cache_dir=str(tmp_path / "cache"))
