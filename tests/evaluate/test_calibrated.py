"""The first seconds of each class of each test subject adapt, and never test."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import default
from dcdp_jax.data.dataset import build_dataset
from dcdp_jax.data.datasets import synthetic
from dcdp_jax.data.parts import set_aside_calibration
from dcdp_jax.data.protocols import NO_CHOICE, by_subjects, random_windows
from dcdp_jax.data.recording import Channel, Recording, Recordings
from dcdp_jax.errors import ConfigError
from dcdp_jax.evaluate.calibrated import measure_calibration
from dcdp_jax.serve.model import predict
from dcdp_jax.train.classifiers import train_classifiers
from tests.serve.making import Kind, make_model

RATE, CLASSES = 4.0, 2


def make_recording(subject, run, labels):
    n = len(labels)
    signals = np.arange(n, dtype=np.float32)[:, None]
    return Recording(signals, np.array(labels, np.int32), subject, str(run), RATE, (Channel("x", "acc", "hip", "g"),))


@settings(deadline=None, max_examples=80)
@given(
    runs=st.lists(
        st.tuples(st.integers(3, 4), st.lists(st.integers(-1, 2), min_size=1, max_size=30)), min_size=1, max_size=4
    ),
    seconds=st.sampled_from([0.25, 1.0, 2.5]),
)
def test_calibration_never_touches_tested_seconds(runs, seconds):
    recordings = [make_recording(s, i, labels) for i, (s, labels) in enumerate([(1, [0]), (2, [0]), *runs])]
    before = by_subjects("mine", Recordings(recordings, ()), [2], {s for s, _ in runs})
    after = set_aside_calibration(before, recordings, seconds, CLASSES)
    assert {split: after.intervals[split] for split in ("train", "validation")} == {
        split: before.intervals[split] for split in ("train", "validation")
    }
    owner = [np.full(len(r.labels), "", object) for r in recordings]
    for split in ("calibration", "test"):
        for i, start, stop in after.intervals[split]:
            assert start < stop
            assert not owner[i][start:stop].any(), "a sample in two parts, or twice in one"
            owner[i][start:stop] = split
    for subject in {s for s, _ in runs}:
        mine = [i for i, r in enumerate(recordings) if r.subject == subject]
        labels, parts = (np.concatenate([x[i] for i in mine]) for x in ([r.labels for r in recordings], owner))
        assert set(parts) <= {"calibration", "test"}, "every sample of a test subject is in one of them"
        for label in range(-1, 3):
            own = parts[labels == label]
            first = min(round(seconds * RATE), len(own)) if label in range(CLASSES) else 0
            assert own.tolist() == ["calibration"] * first + ["test"] * (len(own) - first)


def test_random_windows_have_no_first_seconds():
    recordings = Recordings([make_recording(1, 0, [0] * 9)], ())
    with pytest.raises(ConfigError, match=r"data\.calibration=5: the windows of protocol random"):
        set_aside_calibration(random_windows(recordings, NO_CHOICE), recordings, 5.0, CLASSES)


def small(**fields):
    data = default.get_config().data
    data.name, data.protocol, data.window, data.step = "synthetic", "subject", 32, 16
    data.synthetic.subjects, data.synthetic.minutes = 5, 3.0
    for field, value in fields.items():
        data[field] = value
    return data


@pytest.mark.parametrize("view", ["raw", "mirror"])
def test_a_data_set_with_calibration_is_audited(view):
    whole, divided = build_dataset(small(view=view)), build_dataset(small(view=view, calibration=4.0))
    assert whole.calibration is None
    test, given = divided.splits["test"], divided.calibration
    assert set(divided.splits) == {"train", "validation", "test"}
    assert set(given.subjects) == set(test.subjects) == set(whole.splits["test"].subjects)
    covered = [set((part.starts[:, None] + np.arange(32)).ravel().tolist()) for part in (test, given)]
    assert not covered[0] & covered[1]
    for name in ("train", "validation"):
        np.testing.assert_array_equal(divided.splits[name].starts, whole.splits[name].starts)
    np.testing.assert_array_equal(divided.normalizer.scale, whole.normalizer.scale)
    assert "no two sets share a subject except for calibration and test" in divided.notes
    assert "no two sets share a sample, a stretch of signal or a copy of a recording" in divided.notes


def test_more_seconds_than_there_are_leave_no_test_part():
    with pytest.raises(ConfigError, match="no window fits into the test set"):
        build_dataset(small(calibration=1e5))


def test_the_scores_are_those_of_models_adapted_one_by_one():
    channels = [[c.name for c in synthetic.CHANNELS if c.group == group][:3] for group in ("acc", "gyro")]
    data = small(calibration=4.0, channels=(*channels[0], *channels[1]), classes=("stand", "sit", "lie", "walk"))
    dataset, made = build_dataset(data), make_model(Kind(window=32))
    measured = measure_calibration(dataset, made.network, made.variables, 4.0)
    (subject,) = np.unique(dataset.splits["test"].subjects)
    given, test = dataset.calibration, dataset.splits["test"]

    def windows(part):
        return dataset.signals[part.starts[:, None] + np.arange(32)]

    card = msgspec.structs.replace(
        made.card, shift=tuple(dataset.normalizer.shift.tolist()), scale=tuple(dataset.normalizer.scale.tolist())
    )
    params = train_classifiers(made.network, made.variables, dataset.normalizer, windows(given), given.labels)
    for name, variables in (("before", made.variables), ("after", {**made.variables, "params": params})):
        found = predict(made._replace(card=card, variables=variables), windows(test)).probabilities.argmax(axis=1)
        accuracy = np.mean(found == test.labels)
        assert measured[name]["accuracy"] == pytest.approx(accuracy)
        assert measured["subjects"][str(subject)][name] == pytest.approx(accuracy)
    assert measured["after"]["accuracy"] > measured["before"]["accuracy"]
    assert measured["subjects"][str(subject)]["calibration_windows"] == len(given.labels)
