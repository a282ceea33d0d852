"""Answers of low confidence: chosen on validation people, said by predict and stream, measured on a left-out class."""

import csv
import json

import msgspec
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score

from configs import default, demo
from dcdp_jax.data.dataset import build_dataset
from dcdp_jax.data.datasets import synthetic
from dcdp_jax.errors import CheckpointError, ConfigError
from dcdp_jax.rejection import Rejection, fit_rejection, scale_probabilities
from dcdp_jax.report.html import write_report
from dcdp_jax.runs.files import write_recorded
from dcdp_jax.runs.model_card import read_card, read_density, write_card, write_density
from dcdp_jax.runs.reading import read_predictions, read_result
from dcdp_jax.serve.events import UNKNOWN
from dcdp_jax.serve.export import check_formats
from dcdp_jax.serve.inputs import read_input
from dcdp_jax.serve.live import answers
from dcdp_jax.serve.model import load_model, load_serving_model, predict, probabilities
from dcdp_jax.serve.predict import predict_files, predict_recording
from dcdp_jax.serve.smoothing import Smoother
from dcdp_jax.serve.stream import Recognizer
from dcdp_jax.train.trainer import train

LEFT_OUT = "run"
A, B = np.array([0.7, 0.2, 0.1]), np.array([0.1, 0.5, 0.4])


def windows_of(dataset, split):
    return dataset.signals[split.starts[:, None] + np.arange(dataset.window)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The config and the workdir of a small run without one class."""
    config = demo.get_config()
    config.data.synthetic.subjects, config.data.synthetic.minutes = 5, 2.0
    config.data.left_out_class = LEFT_OUT
    config.model.update(width=4, resnet_blocks=(1,), densenet_blocks=(1,), embedding=16, fusion_hidden=16)
    config.model.update(projection_hidden=4, projection=4, dropout=0.0)
    config.train.update(epochs=6, batch_size=16)
    config.optimizer.learning_rate = 0.02
    config.parallel.devices = 1
    workdir = tmp_path_factory.mktemp("unknown") / "run"
    train(config, workdir)
    return config, workdir


@pytest.fixture(scope="module")
def dataset(trained):
    return build_dataset(trained[0].data)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A recording of the test set as a user's table, without labels."""
    recording = synthetic.make_recordings(subjects=5, minutes=2.0)[4]
    path = tmp_path_factory.mktemp("tables") / "day.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["time", *(c.name for c in recording.channels)])
        for t, values in enumerate(recording.signals[:800]):
            rows.writerow([f"{t / 25:.2f}", *(f"{v:.9g}" for v in values)])
    return path


def test_temperature_and_threshold_are_those_of_the_validation_part(trained, dataset):
    _, workdir = trained
    model, split = load_model(workdir), dataset.splits["validation"]
    found = probabilities(model, windows_of(dataset, split)).fusion
    expected = msgspec.structs.asdict(fit_rejection(found, split.labels, 0.95))
    given = msgspec.structs.asdict(model.card.rejection)
    assert given.pop("distance") > 0
    assert given == pytest.approx({name: expected[name] for name in given}, rel=1e-3)
    confidence = scale_probabilities(found, model.card.rejection.temperature).max(axis=1)
    assert np.mean(confidence >= model.card.rejection.threshold - 1e-6) >= 0.95


def test_a_class_that_was_left_out_is_measured_on_the_test_part(trained, dataset):
    _, workdir = trained
    result, card = read_result(workdir), read_card(workdir)
    assert LEFT_OUT not in (*result["class_names"], *card.class_names)
    assert len(result["class_names"]) == len(synthetic.CLASS_NAMES) - 1
    left_out = result["left_out"]
    assert (left_out["name"], left_out["windows"]) == (LEFT_OUT, len(dataset.unknown.labels))
    known = read_predictions(workdir, result).probabilities
    unknown = probabilities(load_model(workdir), windows_of(dataset, dataset.unknown)).fusion
    a, b = (scale_probabilities(p, card.rejection.temperature).max(axis=1) for p in (known, unknown))
    truth = [0] * len(a) + [1] * len(b)
    assert left_out["auroc"] == pytest.approx(roc_auc_score(truth, -np.concatenate([a, b])), abs=2e-3)
    assert left_out["at_threshold"]["false_alarms"] == pytest.approx(np.mean(a < card.rejection.threshold), abs=0.02)


def test_the_report_shows_it(trained):
    _, workdir = trained
    page = write_report(workdir).read_text()
    result, rejection = read_result(workdir), read_card(workdir).rejection
    for text in (
        "Confidence and unknown windows",
        f"Temperature {rejection.temperature:.3f} and threshold {rejection.threshold:.4f}",
        "Reliability after temperature scaling",
        "Accuracy against coverage",
        f"{result['left_out']['auroc']:.4f} (0.5 is chance)",
    ):
        assert text in page


def test_predict_and_stream_say_unknown(trained, table, tmp_path, capsys):
    config, workdir = trained
    config = config.copy_and_resolve_references()
    config.serve.unknown = True
    model = load_serving_model(config, workdir)
    assert model.rejection == model.card.rejection
    (item,) = read_input(table, model.card, config.data)
    plain = predict_recording(load_model(workdir), item.recording, item.time)
    scaled = scale_probabilities(np.array([event.probabilities for event in plain]), 2.0)
    threshold = float(np.median(scaled.max(axis=1))) + 1e-4
    model = model._replace(rejection=Rejection(2.0, threshold, 0.95))
    events = predict_recording(model, item.recording, item.time)
    for event, before, p in zip(events, plain, scaled, strict=True):
        np.testing.assert_allclose(event.probabilities, p, atol=1e-6)
        assert event.label == (UNKNOWN if p.max() < threshold else before.label)
    said = [event.class_name(model.card) for event in events]
    assert 0 < said.count("unknown") < len(said)
    lines = [line.encode() for line in table.read_text().splitlines(keepends=True)]
    assert [answer["class"] for answer in answers(model, [lines], default.get_config().data.table)] == said
    assert f"unknown below a confidence of {threshold:.3f}" in capsys.readouterr().err


def features_by_numpy(model, dataset, split):
    """Log-probabilities of all classifiers, and mean and log standard deviation of each normalised channel."""
    windows, card = windows_of(dataset, split), model.card
    found = probabilities(model, windows)
    given = [found.fusion, *(found.branches[branch.name] for branch in card.branches)]
    x = (np.float64(windows) - card.shift) * card.scale
    return np.concatenate([*(np.log(np.float64(p)) for p in given), x.mean(1), np.log(x.std(1) + 1e-3)], axis=1)


def test_distances_are_those_of_numpy_and_the_threshold_that_of_the_validation_part(trained, dataset):
    """Mahalanobis distances by SciPy, with the covariance within classes of the training set."""
    config, workdir = trained
    config = config.copy_and_resolve_references()
    config.serve.update(unknown=True, unknown_score="distance")
    model = load_serving_model(config, workdir)
    train, validation, test = (dataset.splits[part] for part in ("train", "validation", "test"))
    features = features_by_numpy(model, dataset, train)
    means = np.stack([features[train.labels == k].mean(axis=0) for k in range(len(model.card.class_names))])
    covariance = np.cov(features.T - means[train.labels].T, bias=True)
    inverse = np.linalg.inv(covariance + 1e-6 * np.diag(np.diag(covariance)))

    def by_scipy(x):
        return cdist(x, means, "mahalanobis", VI=inverse).min(axis=1) ** 2

    expected = by_scipy(features_by_numpy(model, dataset, test))
    found = predict(model, windows_of(dataset, test)).distances
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    far = np.sort(by_scipy(features_by_numpy(model, dataset, validation)))[::-1]
    assert model.rejection.distance == pytest.approx(far[int(len(far) * 0.05)], rel=1e-3)
    result = read_result(workdir)
    other = by_scipy(features_by_numpy(model, dataset, dataset.unknown))
    truth = [0] * len(expected) + [1] * len(other)
    assert result["left_out"]["distance"]["auroc"] == pytest.approx(
        roc_auc_score(truth, np.concatenate([expected, other])), abs=5e-3
    )
    assert result["kept_by_distance"][-1] == [1.0, pytest.approx(result["test"]["accuracy"])]
    assert f"{result['left_out']['distance']['auroc']:.4f}" in write_report(workdir).read_text()


def test_predict_and_stream_say_unknown_by_distance(trained, dataset, table, capsys):
    config, workdir = trained
    config = config.copy_and_resolve_references()
    config.serve.update(unknown=True, unknown_score="distance")
    model = load_serving_model(config, workdir)
    (item,) = read_input(table, model.card, config.data)
    item.recording.signals[:200, 0] = np.nan
    starts = np.arange(0, len(item.recording.labels) - model.card.window + 1, model.card.step)
    windows = item.recording.signals[starts[:, None] + np.arange(model.card.window)]
    found = predict(model, windows, batch=1)
    lacking = np.isnan(windows).any(axis=(1, 2))
    np.testing.assert_array_equal(np.isnan(found.distances), lacking)
    limit = float(np.nanmedian(found.distances)) + 1e-3
    model = model._replace(rejection=msgspec.structs.replace(model.rejection, distance=limit, threshold=0.0))
    labels = [event.label for event in predict_recording(model, item.recording, item.time)]
    assert [label == UNKNOWN for label in labels] == (found.distances > limit).tolist()
    assert 0 < labels.count(UNKNOWN) < len(labels) - lacking.sum()
    recognizer = Recognizer(model)
    assert [event.label for event in recognizer.push(item.recording.signals)] == labels
    list(answers(model, [[line.encode() for line in table.read_text().splitlines(keepends=True)]], config.data.table))
    assert f"unknown beyond a distance of {limit:.4g} from the training windows" in capsys.readouterr().err


def test_a_run_without_distance_and_a_damaged_density_are_refused(trained):
    config, workdir = trained
    config = config.copy_and_resolve_references()
    config.serve.update(unknown=True, unknown_score="distance")
    card, density = read_card(workdir), read_density(workdir)
    write_card(workdir, msgspec.structs.replace(card, rejection=Rejection(1.0, 0.5, 0.95)))
    try:
        with pytest.raises(ConfigError, match=r"serve.unknown_score='distance': .*model.json has no largest distance"):
            load_serving_model(config, workdir)
        write_card(workdir, card)
        write_density(workdir, density._replace(means=density.means[:, 1:]))
        with pytest.raises(CheckpointError, match=r"density.npz: arrays of .* expected \(m, f\) and \(f, f\)"):
            load_serving_model(config, workdir)
        write_recorded(workdir, "density.npz", b"no archive")
        with pytest.raises(CheckpointError, match=r"density\.npz: damaged"):
            load_serving_model(config, workdir)
        with pytest.raises(ConfigError, match="an exported model says 'unknown' by the probability"):
            check_formats(config, ["jax"])
    finally:
        write_card(workdir, card)
        write_density(workdir, density)


def test_a_recording_of_which_all_is_unknown(trained, table, tmp_path, capsys):
    config, workdir = trained
    config = config.copy_and_resolve_references()
    config.serve.unknown = True
    card = read_card(workdir)
    sure = msgspec.structs.replace(card, rejection=Rejection(20.0, 1.0, 0.95))
    write_card(workdir, sure)
    try:
        predict_files(config, workdir, [str(table)], ("mean", 2))
    finally:
        write_card(workdir, card)
    output = capsys.readouterr().out
    assert f"windows are unknown: the model knows {', '.join(card.class_names)}" in output
    with (workdir / "predictions" / "day" / "segments.csv").open(newline="") as file:
        assert [row["class"] for row in csv.DictReader(file)] == ["unknown"]
    assert "unknown" in (workdir / "predictions" / "day" / "timeline.svg").read_text()


def test_without_a_validation_part_it_is_refused_in_one_line(trained):
    config, workdir = trained
    card = read_card(workdir)
    write_card(workdir, msgspec.structs.replace(card, rejection=None))
    config = config.copy_and_resolve_references()
    assert load_serving_model(config, workdir).rejection is None
    config.serve.unknown = True
    try:
        with pytest.raises(ConfigError, match=r"serve.unknown=True: .*model.json has no threshold"):
            load_serving_model(config, workdir)
        own = (*card.class_names[:-1], "unknown")
        write_card(workdir, msgspec.structs.replace(card, class_names=own))
        with pytest.raises(ConfigError, match="has a class 'unknown' of its own"):
            load_serving_model(config, workdir)
    finally:
        write_card(workdir, card)
    assert "Confidence and unknown windows" in write_report(workdir).read_text()


def test_smoothing_rejects_by_the_mean_confidence():
    for method in ("mean", "majority"):
        smoother = Smoother(method, 2, Rejection(1.0, 0.55, 0.9))
        assert [smoother(p)[0] for p in (A, B, B, A)] == [0, 0 if method == "mean" else 1, UNKNOWN, 0]
    np.testing.assert_allclose(Smoother("", 1, Rejection(2.0, 0.9, 0.9))(A)[1], np.sqrt(A) / np.sqrt(A).sum())


def test_card_and_result_hold_it(trained):
    _, workdir = trained
    card, result = (json.loads((workdir / name).read_text()) for name in ("model.json", "result.json"))
    assert set(card["rejection"]) == {"temperature", "threshold", "coverage", "distance"}
    assert result["rejection"] == card["rejection"]
