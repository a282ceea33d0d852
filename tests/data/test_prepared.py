"""Prepared data is what the publisher's files hold, and is prepared again when these change or it is damaged."""

import dataclasses

import numpy as np
import pytest

from dcdp_jax.data import load_recordings, prepared
from dcdp_jax.data.datasets import DATASETS
from dcdp_jax.data.loading import read_dataset
from dcdp_jax.data.recording import fingerprint
from dcdp_jax.errors import ConfigError, DataError
from tests.data.datasets import small

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
    with pytest.raises(ConfigError, match=r"data.name='pamap3' is none of dsads, hapt, opportunity"):
        load_recordings("pamap3")


@pytest.mark.parametrize("name", PUBLISHED)
def test_channels_and_classes_are_named_once(name):
    spec = DATASETS[name]
    assert len({c.name for c in spec.channels}) == len(spec.channels)
    assert len(set(spec.class_names)) == len(spec.class_names)
    assert {c.group for c in spec.channels} <= {"acc", "gyro", "mag", "orientation"}


def test_the_state_of_a_folder(tmp_path):
    (tmp_path / "a.txt").write_text("1")
    cache = tmp_path / "cache"
    before = prepared.state_of(tmp_path, cache)
    cache.mkdir()
    (cache / "prepared.txt").write_text("1")
    assert prepared.state_of(tmp_path, cache) == before
    (tmp_path / "a.txt").write_text("12")
    assert prepared.state_of(tmp_path, cache) != before
