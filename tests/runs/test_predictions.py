"""What a run leaves of every test window: the same rows on any number of devices, and whose window each row is."""

import csv
import json

import numpy as np
import pytest

from configs import demo
from dcdp_jax.calibration import calibration
from dcdp_jax.data import load_recordings
from dcdp_jax.data.dataset import build_dataset
from dcdp_jax.runs.predictions import WORST, write_predictions
from dcdp_jax.runs.reading import COLUMNS, read_predictions
from dcdp_jax.train.build import build_branches
from dcdp_jax.train.devices import Devices
from dcdp_jax.train.evaluation import make_evaluate
from dcdp_jax.train.step import Signals
from tests.train.linear import Linear, head_probabilities, normalised_windows, random_state


@pytest.fixture(scope="module")
def config():
    config = demo.get_config()
    config.data.synthetic.subjects, config.data.synthetic.minutes = 8, 1.0
    config.data.window, config.data.step = 20, 10
    config.train.batch_size = 56
    return config


@pytest.fixture(scope="module")
def dataset(config):
    return build_dataset(config.data)


def evaluate(config, dataset, count=1, strategy="pmap"):
    devices = Devices(count, strategy)
    signals = devices.replicate(Signals(dataset.signals, dataset.normalizer.shift, dataset.normalizer.scale))
    read = make_evaluate(config, dataset, Linear(build_branches(config, dataset)), devices, signals)
    return read(devices.replicate(random_state(config, dataset)), dataset.splits["test"])


@pytest.fixture(scope="module")
def evaluation(config, dataset):
    return evaluate(config, dataset)


def test_probabilities_are_those_of_the_windows_in_order(config, dataset, evaluation):
    x = normalised_windows(dataset, dataset.splits["test"])
    expected = head_probabilities(x, random_state(config, dataset), {})["fusion"]
    assert len(expected) % config.train.batch_size != 0  # or the padding is not tested
    np.testing.assert_allclose(evaluation.probabilities, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("strategy", "count"), [("pmap", 7), ("pmap", 8), ("jit", 7)])
def test_any_number_of_devices_gives_the_same_rows(strategy, count, config, dataset, evaluation):
    found = evaluate(config, dataset, count, strategy)
    np.testing.assert_allclose(found.probabilities, evaluation.probabilities, atol=1e-6)
    np.testing.assert_array_equal(found.tally.confusion, evaluation.tally.confusion)


@pytest.fixture(scope="module")
def written(dataset, evaluation, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    write_predictions(workdir, dataset, evaluation.probabilities)
    with (workdir / "predictions.csv").open(newline="") as file:
        return workdir, list(csv.DictReader(file))


def test_rows_name_the_recording_and_where_in_it_the_window_begins(config, dataset, written):
    recordings = {
        (str(r.subject), r.run): r.signals
        for r in load_recordings("synthetic", "", options=config.data.synthetic.to_dict())
    }
    split, (_, rows) = dataset.splits["test"], written
    assert len(rows) == len(split.labels)
    for row, start, label in zip(rows, split.starts, split.labels, strict=True):
        assert row["true"] == dataset.class_names[label]
        at = int(row["start"])
        found = recordings[row["subject"], row["recording"]][at : at + dataset.window]
        np.testing.assert_array_equal(found, dataset.signals[start : start + dataset.window])


def test_rows_give_the_probabilities_back_to_the_bit(dataset, evaluation, written):
    rows = written[1]
    assert list(rows[0]) == [*COLUMNS, *(f"probability of {name}" for name in dataset.class_names)]
    found = np.array([[row[f"probability of {name}"] for name in dataset.class_names] for row in rows], np.float32)
    np.testing.assert_array_equal(found, evaluation.probabilities)
    assert [row["predicted"] for row in rows] == [dataset.class_names[i] for i in found.argmax(axis=1)]
    np.testing.assert_array_equal(np.array([row["confidence"] for row in rows], np.float32), found.max(axis=1))


def test_the_report_bins_them_to_the_same_calibration_error(dataset, evaluation, written):
    confusion = evaluation.tally.confusion.tolist()
    predictions = read_predictions(written[0], {"class_names": dataset.class_names, "confusion": confusion})
    bins = calibration(predictions.right, predictions.confidence)
    assert bins.error() == pytest.approx(evaluation.tally.scores()["ece"], abs=1e-6)
    np.testing.assert_array_equal(bins.windows, evaluation.tally.bins[0])
    assert predictions.right.mean() == pytest.approx(evaluation.tally.scores()["accuracy"])


def test_the_worst_windows_are_the_most_confident_of_their_confusion(dataset, evaluation, written):
    worst = json.loads((written[0] / "worst_windows.json").read_text())
    split, p = dataset.splits["test"], evaluation.probabilities
    guess, k = p.argmax(axis=1), len(dataset.class_names)
    confusions = [np.flatnonzero((split.labels == a) & (guess == b)) for a in range(k) for b in range(k) if a != b]
    largest = [rows[p[rows].max(axis=1).argmax()] for rows in confusions if len(rows)]
    assert len(largest) > WORST
    expected = sorted(largest, key=lambda i: -p[i].max())[:WORST]
    assert [window["confidence"] for window in worst["windows"]] == [float(p[i].max()) for i in expected]
    for window, i in zip(worst["windows"], expected, strict=True):
        x = dataset.signals[split.starts[i] : split.starts[i] + dataset.window]
        np.testing.assert_allclose(window["values"], x, rtol=1e-4)
        assert window["true"] == dataset.class_names[split.labels[i]] != window["predicted"]
    assert [channel["name"] for channel in worst["channels"]] == [channel.name for channel in dataset.channels]
