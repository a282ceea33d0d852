"""Segments of the test set: those of predict on the same recordings, whatever the labels."""

import dataclasses

import numpy as np
import pytest

from dcdp_jax.data.dataset import build_dataset
from dcdp_jax.data.datasets import synthetic
from dcdp_jax.evaluate.finished_run import grade_test_part
from dcdp_jax.evaluate.segments import TRUE_KINDS, divide, grade_segments, total_seconds, true_segments
from dcdp_jax.serve.events import merge_events
from dcdp_jax.serve.inputs import prepare
from dcdp_jax.serve.model import load_model, probabilities
from dcdp_jax.serve.predict import predict_recording


@pytest.fixture(scope="module")
def dataset(data):
    return build_dataset(data)


def test_they_are_those_of_predict(finished, dataset, data):
    model = load_model(finished)

    def ask(split):
        return probabilities(model, dataset.signals[split.starts[:, None] + np.arange(dataset.window)]).fusion

    (subject,) = np.unique(dataset.splits["test"].subjects).tolist()
    recordings = synthetic.make_recordings(subjects=5, minutes=4.0)
    (recording,) = (r for r in recordings if r.subject == subject)
    item = prepare("here", recording, model.card)
    events = predict_recording(model, item.recording, item.time)
    true = true_segments(item.recording.labels, item.time, item.recording.starts, 25.0)
    expected = grade_segments(divide(true, merge_events(events)), model.card.class_names)
    found = grade_test_part(dataset, data.step, ask)
    assert found["map"] == pytest.approx(expected["map"])
    assert found["segments"] == expected["segments"]
    assert found["onset"] == pytest.approx(expected["onset"])
    for name, seconds in expected["seconds"].items():
        assert found["seconds"][name] == pytest.approx(seconds)
    seconds = total_seconds(found)
    assert sum(seconds[kind] for kind in TRUE_KINDS) == pytest.approx(len(recording.labels) / 25)


def test_windows_that_are_not_continuous_are_not_graded(dataset, data):
    def ask(split):
        raise AssertionError

    leaky = dataclasses.replace(dataset, marks=("leaky",))
    one_label = dataclasses.replace(dataset, labels=np.zeros_like(dataset.labels))
    short = dataclasses.replace(dataset, window=len(dataset.labels) + 1)
    assert [grade_test_part(part, data.step, ask) for part in (leaky, one_label, short)] == [None] * 3
