import numpy as np
import pytest

from dcdp_jax.data.datasets import uci_har
from dcdp_jax.data.views import continued, view_recording
from dcdp_jax.errors import DataError
from tests.data.datasets import small


def test_windows_are_stretches(tmp_path):
    folder = small.write("uci_har", tmp_path)
    found = uci_har.read(folder)
    assert [(r.subject, r.run, len(r.starts)) for r in found] == [(1, "train", 1), (2, "test", 2), (3, "train", 2)]
    np.testing.assert_array_equal(found[2].signals[:, 0], np.arange(1128, 1384))
    np.testing.assert_array_equal(found[2].labels[::128], [0, 5])


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train/y_train.txt", "5\n1\n7\n", "y_train.txt, line 3: label 7, expected a whole number from 1 to 6"),
        ("train/subject_train.txt", "1\n0\n1\n", "subject_train.txt, line 2: subject 0"),
        ("train/y_train.txt", "5\n1\n", "y_train.txt: 2 labels, but subject_train.txt has 3"),
        (
            "train/Inertial Signals/body_gyro_z_train.txt",
            "1 2\n",
            "body_gyro_z_train.txt, line 1: 2 columns, expected 128",
        ),
        ("train/Inertial Signals/body_gyro_z_train.txt", " 1" * 128 + "\n", "1 windows, but subject_train.txt has 3"),
    ],
)
def test_errors(tmp_path, file, content, message):
    folder = small.write("uci_har", tmp_path)
    (folder / file).write_text(content)
    with pytest.raises(DataError, match=message):
        uci_har.read(folder)


def test_real_windows(raw_dir):
    found = uci_har.read(raw_dir / "UCI HAR Dataset")
    assert found.missing == ()
    counts = np.bincount(np.concatenate([r.labels[r.starts] for r in found]))
    assert counts.tolist() == [1722, 1544, 1406, 1777, 1906, 1944]

    # The view `body` is the published body_acc, once its filter has run through four windows that overlap.
    error, body = [], []
    for recording in found[:6]:
        going_on = continued(recording.signals, recording.starts)
        first = np.maximum.accumulate(np.where(going_on, 0, np.arange(len(going_on))))
        late = np.repeat(np.arange(len(going_on)) - first >= 4, 128)
        computed = view_recording(recording, "body").signals[late, 3:6].astype(np.float64)
        body.append(recording.signals[late, 3:6])
        error.append(computed - body[-1])
    assert len(np.concatenate(body)) > 100_000
    rms = [np.sqrt(np.mean(np.concatenate(parts) ** 2, axis=0)) for parts in (error, body)]
    assert rms[0].max() < 0.0005
    assert rms[1].min() > 0.05
