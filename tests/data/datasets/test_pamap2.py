import re

import numpy as np
import pytest

from dcdp_jax.data.datasets import pamap2
from dcdp_jax.errors import DataError
from tests.data.datasets import small
from tests.data.datasets.documents import document


def test_columns_are_the_documented_36():
    expected = [*range(4, 16), *range(21, 33), *range(38, 50)]
    assert list(pamap2.CHANNEL_COLUMNS) == expected
    groups = [c.group for c in pamap2.CHANNELS]
    assert [groups.count(g) for g in ("acc", "gyro", "mag")] == [18, 9, 9]


def test_classes():
    codes = {name: code for code, name in pamap2.ACTIVITIES.items()}
    assert {codes[name] for name in pamap2.PROTOCOL_CLASS_NAMES} == {1, 2, 3, 4, 5, 6, 7, 12, 13, 16, 17, 24}
    assert len(pamap2.CLASS_NAMES) == 18


def test_published_files_are_the_documented_ones():
    rows = re.findall(r"PAMAP2_Dataset/(\S+) (\d+) (\w+)", document("pamap2_dat_sizes_sha256.txt"))
    assert {name: (int(size), digest) for name, size, digest in rows} == pamap2.PUBLISHED


def test_values_labels_and_folders(tmp_path):
    folder = small.write("pamap2", tmp_path)
    found = pamap2.read(folder)
    assert [(r.subject, r.run) for r in found] == [(101, "Protocol"), (101, "Optional")]
    codes = list(pamap2.ACTIVITIES)
    for recording in found:
        rows = [line.split() for line in (folder / recording.run / "subject101.dat").read_text().splitlines()]
        expected = [codes.index(int(row[1])) if row[1] != "0" else -1 for row in rows]
        np.testing.assert_array_equal(recording.labels, expected)
        for i, row in enumerate(rows):
            for j, column in enumerate(pamap2.CHANNEL_COLUMNS):
                if row[column] != "NaN":
                    assert recording.signals[i, j] == np.float32(row[column])
    assert not any(np.isnan(r.signals).any() for r in found)
    assert found.missing[0].startswith("12 of 14 files are missing")


def test_missing_values_take_the_nearest_at_the_edges(tmp_path):
    rows = small.pamap2_rows(np.random.default_rng(0), 6)
    rows[:, 5] = ["NaN", "2", "NaN", "4", "NaN", "NaN"]
    rows[:, 6] = "NaN"
    (tmp_path / "Protocol").mkdir()
    (tmp_path / "Protocol" / "subject105.dat").write_text(small.lines(rows))
    (recording,) = pamap2.read(tmp_path)
    np.testing.assert_array_equal(recording.signals[:, 1], [2, 2, 3, 4, 4, 4])
    np.testing.assert_array_equal(recording.signals[:, 2], np.zeros(6))


def test_lost_rows_begin_a_stretch(tmp_path):
    rows = np.delete(small.pamap2_rows(np.random.default_rng(0), 12), [3, 8], axis=0)
    (tmp_path / "Protocol").mkdir()
    (tmp_path / "Protocol" / "subject105.dat").write_text(small.lines(rows))
    found = pamap2.read(tmp_path)
    np.testing.assert_array_equal(found[0].starts, [0, 3, 7])
    assert found.notes[1].endswith("2 gaps in time")


def test_heart_rate_is_optional(tmp_path):
    folder = small.write("pamap2", tmp_path)
    plain, heart = pamap2.read(folder), pamap2.read(folder, heart_rate=True)
    assert heart[0].channels[-1] == pamap2.HEART_RATE_CHANNEL
    assert set(heart[0].signals[:, 36]) == {104.0}
    np.testing.assert_array_equal(heart[0].signals[:, :36], plain[0].signals)


def test_an_unknown_activity_is_an_error(tmp_path):
    rows = small.pamap2_rows(np.random.default_rng(0), 6)
    rows[4, 1] = "8"
    (tmp_path / "Protocol").mkdir()
    (tmp_path / "Protocol" / "subject105.dat").write_text(small.lines(rows))
    with pytest.raises(DataError, match=r"subject105.dat, line 5: label 8, expected one of 0, 1, 2"):
        pamap2.read(tmp_path)


def test_other_folders_are_errors(tmp_path):
    (tmp_path / "Other").mkdir()
    (tmp_path / "Other" / "subject101.dat").write_text("")
    with pytest.raises(DataError, match="expected the folders Protocol and Optional"):
        pamap2.read(tmp_path)


def test_real_subject_109(raw_dir):
    (recording,) = (r for r in pamap2.read(raw_dir / "PAMAP2_Dataset") if r.subject == 109 and r.run == "Protocol")
    assert len(recording.labels) == 8477
    assert np.count_nonzero(recording.labels == pamap2.CLASS_NAMES.index("rope_jumping")) == 6391
    assert np.count_nonzero(recording.labels == -1) == 8477 - 6391
    np.testing.assert_array_equal(recording.starts, [0])
    assert 5 < np.linalg.norm(recording.signals[:, :3], axis=1).mean() < 20


def test_real_files_are_the_published_ones(raw_dir):
    assert not [note for note in pamap2.read(raw_dir / "PAMAP2_Dataset").missing if "bytes" in note or "SHA" in note]
