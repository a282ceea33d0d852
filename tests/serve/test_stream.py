"""A stream in any portions gives what the whole recording gives: same windows, same classes, same probabilities."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcdp_jax.data.resample import REPEATED
from dcdp_jax.errors import DataError
from dcdp_jax.serve.inputs import prepare
from dcdp_jax.serve.predict import predict_recording
from dcdp_jax.serve.stream import Recognizer
from tests.serve.making import Kind, make_model, make_recording

KINDS = {
    "plain": Kind(),
    "gravity, every third sample": Kind("derived", decimate=3),
    "any orientation": Kind("vertical"),
    "windows apart": Kind(window=16, step=37),
    "baseline": Kind(baseline="cnn"),
}
MODELS = {}


def model_of(name):
    if name not in MODELS:
        MODELS[name] = make_model(KINDS[name])
    return MODELS[name]


def in_chunks(recognizer, signals, cuts, gaps=()):
    """Pushes in portions, and says where gaps are."""
    events, at = [], 0
    for stop in sorted({*cuts, *gaps, len(signals)}):
        if at in gaps:
            recognizer.gap()
        events += recognizer.push(signals[at:stop])
        at = stop
    return events


def assert_same(found, expected, atol=0.0):
    assert [(e.label, e.missing, e.stretch) for e in found] == [(e.label, e.missing, e.stretch) for e in expected]
    times = np.array([(e.start, e.end) for e in found]).reshape(-1, 2)
    np.testing.assert_allclose(times, np.array([(e.start, e.end) for e in expected]).reshape(-1, 2), atol=1e-9)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, rtol=0, atol=atol)


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_stream_is_batch(name, data):
    model = model_of(name)
    samples = data.draw(st.integers(1, 400))
    anywhere = st.sets(st.integers(1, max(samples - 1, 1)).filter(lambda i: i < samples), max_size=8)
    gaps, cuts = data.draw(anywhere), data.draw(anywhere)
    smoothing = data.draw(st.sampled_from([("", 1), ("mean", 3), ("majority", 4)]))
    recording = make_recording(model.card, samples, data.draw(st.integers(0, 99)), (0, *sorted(gaps)))
    broken = data.draw(st.booleans()) and KINDS[name].view == "raw"
    if broken:  # a sensor that comes and goes, and moments without any
        a = data.draw(st.integers(0, samples))
        recording.signals[a : a + 50, 4] = np.nan
        recording.signals[a + 30 : a + 45] = np.nan
    if np.isnan(recording.signals).all():
        return
    item = prepare("here", recording, model.card)
    expected = predict_recording(model, item.recording, item.time, smoothing)
    assert_same(in_chunks(Recognizer(model, smoothing=smoothing), recording.signals, cuts, gaps), expected)


def test_what_is_compared_is_not_always_the_same():
    model = model_of("plain")
    item = prepare("here", make_recording(model.card, 800), model.card)
    events = predict_recording(model, item.recording)
    assert len(events) == (800 - 16) // 8 + 1
    assert len({event.label for event in events}) > 1
    assert np.std([event.probabilities for event in events], axis=0).max() > 0.1


def test_one_answer_per_step_when_it_is_due():
    recognizer = Recognizer(model_of("plain"))
    signals = make_recording(recognizer.card, 40).signals
    answered = [len(recognizer.push(signals[i : i + 1])) for i in range(40)]
    assert np.flatnonzero(answered).tolist() == [15, 23, 31, 39]
    assert sum(answered) == 4


def test_nothing_is_predicted_across_a_gap():
    recognizer = Recognizer(model_of("plain"))
    signals = make_recording(recognizer.card, 60).signals
    assert recognizer.push(signals[:15]) == []
    recognizer.gap()
    assert recognizer.push(signals[15:30]) == []
    (event,) = recognizer.push(signals[30:31])
    assert (event.start, event.stretch) == (15 / 25, 1)
    damaged = signals.copy()
    damaged[40] = np.nan
    (event,) = recognizer.push(damaged[31:56])
    assert (event.start, event.stretch) == (23 / 25, 1)
    (event,) = recognizer.push(signals[56:57])
    assert (event.start, event.stretch) == (41 / 25, 2)


@pytest.mark.parametrize("repeated", REPEATED)
def test_no_sample_before_a_gap_is_in_a_window_after_it(repeated):
    """Nor one that was held back, because a later one might have had its time."""
    recognizer = Recognizer(model_of("plain"), repeated=repeated)
    signals, time = make_recording(recognizer.card, 31).signals, np.arange(31) / 25
    assert recognizer.push(signals[:15], time[:15]) == []
    recognizer.gap()
    events = recognizer.push(signals[15:], time[15:]) + recognizer.finish()
    assert [(e.start, e.stretch) for e in events] == [(15 / 25, 1)]


def test_a_gap_before_anything_is_none():
    recognizer = Recognizer(model_of("plain"))
    recognizer.gap()
    (event,) = recognizer.push(make_recording(recognizer.card, 16).signals)
    assert event.stretch == 0


def test_times_show_gaps_and_other_rates():
    model = model_of("plain")
    signals = make_recording(model.card, 200).signals
    time = np.arange(200) / 25
    time[90:] += 10
    plain = in_chunks(Recognizer(model), signals, (), (90,))
    recognizer, timed = Recognizer(model), []
    for i in range(0, 200, 7):
        timed += recognizer.push(signals[i : i + 7], time[i : i + 7])
    assert [(e.label, e.stretch) for e in timed] == [(e.label, e.stretch) for e in plain]
    assert [e.start for e in timed] == pytest.approx([e.start + 10 * e.stretch for e in plain])
    # Twice the rate, every other sample between its neighbours: the same even samples.
    doubled = np.repeat(signals[:90], 2, axis=0)[:-1]
    doubled[1::2] = (signals[:89] + signals[1:90]) / 2
    faster = Recognizer(model).push(doubled, np.arange(179) / 50)
    assert_same(faster, [e for e in plain if e.stretch == 0], atol=1e-5)


def test_a_branch_without_its_sensor_is_named():
    recognizer = Recognizer(model_of("plain"))
    signals = make_recording(recognizer.card, 16).signals.copy()
    signals[:, 3:] = np.nan
    (event,) = recognizer.push(signals)
    assert event.missing == ("dense",)
    assert event.label >= 0
    recognizer.gap()
    signals[5, 0] = np.nan
    (event,) = recognizer.push(signals)
    assert (event.missing, event.label, event.class_name(recognizer.card)) == (("res", "dense"), -1, "")


@pytest.mark.parametrize(
    ("samples", "times", "message"),
    [
        (np.zeros((3, 5)), None, r"samples of shape \(3, 5\), expected \(n, 6\)"),
        (np.zeros(6), None, r"expected \(n, 6\)"),
        (np.zeros((3, 6)), np.zeros(2), r"times of shape \(2,\), expected \(3,\)"),
        (np.zeros((2, 6)), np.array([1.0, 0.0]), "time goes back"),
    ],
)
def test_what_cannot_be_samples(samples, times, message):
    with pytest.raises(DataError, match=message):
        Recognizer(model_of("plain")).push(samples, times)
