"""Answers of low confidence: chosen on validation people, said by predict and stream, measured on a left-out class."""

import csv
import json

import msgspec
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from configs import default, demo
from dcdp_jax.data.dataset import build_dataset
from dcdp_jax.data.datasets import synthetic
from dcdp_jax.errors import ConfigError
from dcdp_jax.rejection import Rejection, fit_rejection, scale_probabilities
from dcdp_jax.report.html import write_report
from dcdp_jax.runs.model_card import read_card, write_card
from dcdp_jax.runs.reading import read_predictions, read_result
from dcdp_jax.serve.events import UNKNOWN
from dcdp_jax.serve.inputs import read_input
from dcdp_jax.serve.live import answers
from dcdp_jax.serve.model import load_model, load_serving_model, probabilities
from dcdp_jax.serve.predict import predict_files, predict_recording
from dcdp_jax.serve.smoothing import Smoother
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
    """A recording of the test part as a user's table, without labels."""
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
    expected = fit_rejection(found, split.labels, 0.95)
    assert msgspec.structs.asdict(model.card.rejection) == pytest.approx(msgspec.structs.asdict(expected), rel=1e-3)
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
    assert set(card["rejection"]) == {"temperature", "threshold", "coverage"}
    assert result["rejection"] == card["rejection"]
