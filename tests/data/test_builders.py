"""What the builders store is what the readers read, and it is prepared again when the files change."""

import numpy as np
import pytest

from dcdp_jax.data.builders import BUILDERS, base
from dcdp_jax.data.load import DATASETS, class_names, completeness, load_recordings
from dcdp_jax.data.readers import READERS
from dcdp_jax.data.readers.reading import Reading
from dcdp_jax.data.recording import fingerprint
from dcdp_jax.errors import ConfigError, DataError
from tests.data.readers import small


@pytest.mark.parametrize("name", list(READERS))
def test_prepared_recordings_are_the_reader_s(name, tmp_path):
    folder = small.write(name, tmp_path / "raw")
    expected = READERS[name].read(folder)
    first = load_recordings(name, str(folder), cache_dir=str(tmp_path / "cache"))
    second = load_recordings(name, str(folder), cache_dir=str(tmp_path / "cache"))
    for found in (first, second):
        assert isinstance(found, Reading)
        assert fingerprint(found) == fingerprint(expected)
        assert [r.tracks.keys() for r in found] == [r.tracks.keys() for r in expected]
        assert (found.notes, found.missing) == (expected.notes, expected.missing)
        assert found.missing_values == expected.missing_values
        assert completeness(name, found) == list(expected.missing)
    assert second[0].signals.dtype == np.float32
    assert len({np.unique(r.labels).max() < len(class_names(name)) for r in second}) == 1


@pytest.mark.parametrize("name", list(READERS))
def test_the_second_start_does_not_parse(name, tmp_path, monkeypatch):
    folder = small.write(name, tmp_path / "raw")
    load_recordings(name, str(folder), cache_dir=str(tmp_path / "cache"))
    monkeypatch.setattr(READERS[name], "read", None)
    load_recordings(name, str(folder), cache_dir=str(tmp_path / "cache"))


def test_a_cache_among_the_files_is_no_change_of_them(tmp_path, monkeypatch):
    folder = small.write("opportunity", tmp_path)
    load_recordings("opportunity", str(folder), cache_dir=str(folder / "cache"))
    monkeypatch.setattr(READERS["opportunity"], "read", None)
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


def test_names(tmp_path):
    assert set(BUILDERS) == set(READERS) == set(DATASETS) - {"synthetic"}
    for name, builder in BUILDERS.items():
        assert builder(data_dir=tmp_path, file_format="array_record").name == name
    with pytest.raises(ConfigError, match=r"data.name='pamap3' is none of synthetic, opportunity"):
        load_recordings("pamap3")


@pytest.mark.parametrize("name", list(READERS))
def test_channels_and_classes_are_named_once(name):
    reader = READERS[name]
    assert len({c.name for c in reader.CHANNELS}) == len(reader.CHANNELS)
    assert len(set(reader.CLASS_NAMES)) == len(reader.CLASS_NAMES)
    assert {c.group for c in reader.CHANNELS} <= {"acc", "gyro", "mag", "orientation"}


def test_completeness_of_a_plain_list_judges_the_counts(tmp_path):
    reading = READERS["dsads"].read(small.write("dsads", tmp_path))
    assert completeness("dsads", list(reading)) == list(reading.missing)
    assert completeness("synthetic", list(reading)) == []


def test_the_state_of_a_folder(tmp_path):
    (tmp_path / "a.txt").write_text("1")
    cache = tmp_path / "cache"
    before = base.state_of(tmp_path, cache)
    cache.mkdir()
    (cache / "prepared.txt").write_text("1")
    assert base.state_of(tmp_path, cache) == before
    (tmp_path / "a.txt").write_text("12")
    assert base.state_of(tmp_path, cache) != before
