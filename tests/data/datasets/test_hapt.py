import numpy as np
import pytest

from dcdp_jax.data.datasets import hapt
from dcdp_jax.errors import DataError
from tests.data.datasets import small


def test_values_and_labels(tmp_path):
    folder = small.write("hapt", tmp_path)
    first, second = hapt.read(folder)
    assert (first.subject, first.run, second.subject, second.run) == (1, "exp01", 7, "exp02")
    expected = [-1] * 2 + [4] * 7 + [6] * 3 + [-1] * 2 + [3] * 10
    np.testing.assert_array_equal(first.labels, expected)
    np.testing.assert_array_equal(second.labels, [11] * 8 + [-1] * 2 + [0] * 4 + [-1] * 2)
    acc = np.loadtxt(folder / "RawData" / "acc_exp01_user01.txt")
    gyro = np.loadtxt(folder / "RawData" / "gyro_exp01_user01.txt")
    np.testing.assert_array_equal(first.signals, np.hstack([acc, gyro]).astype(np.float32))


def write_labels(folder, text):
    (folder / "RawData" / "labels.txt").write_text(text)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("1 1 5 3 9\n1 1 13 10 12\n", "labels.txt, line 2: activity 13, expected a whole number from 1 to 12"),
        ("1 31 5 3 9\n", "labels.txt, line 1: subject 31, expected a whole number from 1 to 30"),
        ("1 1 5 3 9\n1 2 5 10 12\n", "line 2: subject 2, but the files of experiment 1 name 1"),
        ("1 1 5 3 25\n", "line 1: samples 3 to 25, but experiment 1 has 24"),
        ("1 1 5 9 3\n", "line 1: samples 9 to 3, but"),
        ("1 1 5 0 3\n", "line 1: first sample 0, expected a whole number from 1 to"),
        ("1 1 5 3 9\n1 1 4 9 12\n", "line 2: samples 9 to 12 overlap those of an earlier line"),
        ("1 1 5 3\n", "line 1: 4 columns, expected 5"),
        ("", "empty"),
    ],
)
def test_bad_labels(tmp_path, labels, message):
    folder = small.write("hapt", tmp_path)
    write_labels(folder, labels)
    with pytest.raises(DataError, match=message):
        hapt.read(folder)


def test_files_that_do_not_belong_together(tmp_path):
    folder = small.write("hapt", tmp_path)
    path = folder / "RawData" / "gyro_exp01_user01.txt"
    path.write_text(path.read_text() + "1 2 3\n")
    with pytest.raises(DataError, match=r"gyro_exp01_user01.txt: 25 lines, but acc_exp01_user01.txt has 24"):
        hapt.read(folder)
    path.unlink()
    with pytest.raises(DataError, match=r"gyro_exp01_user01.txt: no such file"):
        hapt.read(folder)


def test_an_experiment_without_files_is_noted(tmp_path):
    folder = small.write("hapt", tmp_path)
    write_labels(folder, "1 1 5 3 9\n2 7 12 1 8\n5 3 1 1 100\n")
    found = hapt.read(folder)
    assert "RawData/labels.txt labels experiment 5, which has no files" in found.notes
    assert found.missing == (
        "2 of 61 recordings",
        "2 of 30 subjects",
        "40 of 1,122,772 samples",
        "15 of 815,614 labelled samples",
    )


def test_real_recordings(raw_dir):
    found = hapt.read(raw_dir / "HAPT Data Set")
    assert found.missing == ()
    assert len(found) == 61
    assert len({r.subject for r in found}) == 30
    assert sum(len(r.labels) for r in found) == 1_122_772
    labels = np.concatenate([r.labels for r in found])
    assert set(labels) == set(range(-1, 12))
    assert (np.bincount(labels[labels >= 0])[:6] > 100_000).all()
    assert 0.9 < np.median(np.linalg.norm(np.concatenate([r.signals[:, :3] for r in found]), axis=1)) < 1.1
