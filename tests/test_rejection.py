"""Temperature, threshold, coverage and detection against NumPy, SciPy's grid and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from dcdp_jax.rejection import (
    TEMPERATURES,
    accuracy_by_coverage,
    area_under_roc,
    choose_threshold,
    detection,
    fit_rejection,
    fit_temperature,
    mean_cross_entropy,
    scale_probabilities,
)


def softmax(logits):
    powers = np.exp(logits)
    return powers / powers.sum(axis=-1, keepdims=True)


def draw(sharpness, n=4000, k=4, seed=0):
    """Labels drawn from softmax(logits), and the probabilities of a model that multiplies its logits by a number."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, k))
    labels = np.array([rng.choice(k, p=p) for p in softmax(logits)])
    return softmax(sharpness * logits).astype(np.float32), labels, logits


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_scaling_probabilities_is_scaling_logits(temperature):
    probabilities, _, logits = draw(1.0, n=50)
    np.testing.assert_allclose(scale_probabilities(probabilities, temperature), softmax(logits / temperature), 2e-5)


def test_what_has_no_answer_stays_without():
    assert np.isnan(scale_probabilities(np.full((2, 3), np.nan), 2.0)).all()
    assert scale_probabilities(np.array([1.0, 0.0]), 2.0).tolist() == [1.0, pytest.approx(0, abs=1e-15)]


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 4.0])
def test_the_temperature_undoes_a_known_sharpness_and_is_the_best_of_a_grid(sharpness):
    probabilities, labels, logits = draw(sharpness)
    found = fit_temperature(probabilities, labels)
    assert found == pytest.approx(sharpness, rel=0.1)
    grid = np.exp(np.linspace(*np.log(TEMPERATURES), 2001))
    losses = [-np.log(softmax(sharpness * logits / t)[np.arange(len(labels)), labels]).mean() for t in grid]
    assert found == pytest.approx(grid[np.argmin(losses)], rel=0.004)
    assert mean_cross_entropy(scale_probabilities(probabilities, found), labels) <= min(losses) + 1e-6


def test_the_temperature_is_one_where_every_window_is_right():
    probabilities, _, _ = draw(1.0, n=20)
    assert fit_temperature(probabilities, probabilities.argmax(axis=1)) == 1.0


@given(
    confidence=st.lists(st.sampled_from([0.25, 0.4, 0.5, 0.7, 0.9, 1.0]), min_size=1, max_size=40),
    coverage=st.sampled_from([0.01, 0.5, 0.8, 0.95, 1.0]),
)
def test_the_threshold_keeps_the_share_and_a_higher_one_does_not(confidence, coverage):
    threshold = choose_threshold(np.array(confidence), coverage)
    kept = sum(c >= threshold for c in confidence)
    assert kept >= coverage * len(confidence) - 1e-6
    assert threshold in confidence
    above = sum(c > threshold for c in confidence)
    assert above < coverage * len(confidence) or above == 0


def test_rejection_is_made_of_both():
    probabilities, labels, _ = draw(3.0)
    rejection = fit_rejection(probabilities, labels, 0.9)
    confidence = scale_probabilities(probabilities, fit_temperature(probabilities, labels)).max(axis=1)
    assert rejection.threshold == np.sort(confidence)[400]
    assert np.mean(confidence >= rejection.threshold) == 0.9
    assert rejection.coverage == 0.9


def test_accuracy_by_coverage_is_that_of_every_threshold():
    rng = np.random.default_rng(1)
    confidence, right = rng.integers(3, 10, 60) / 10, rng.random(60) < 0.7
    coverage, accuracy = accuracy_by_coverage(right, confidence)
    expected = [(np.mean(confidence >= t), right[confidence >= t].mean()) for t in sorted(set(confidence))[::-1]]
    np.testing.assert_allclose(np.stack([coverage, accuracy], axis=1), expected)
    assert (coverage[-1], accuracy[-1]) == (1.0, pytest.approx(right.mean()))


@given(
    known=st.lists(st.integers(0, 6), min_size=1, max_size=30),
    unknown=st.lists(st.integers(0, 6), min_size=1, max_size=30),
)
def test_the_area_is_that_of_scikit_learn(known, unknown):
    truth = [0] * len(known) + [1] * len(unknown)
    expected = roc_auc_score(truth, -np.array([*known, *unknown], float))
    assert area_under_roc(np.array(known, float), np.array(unknown, float)) == pytest.approx(expected)


def test_detection():
    known, _, _ = draw(3.0, n=1000)
    unknown, _, _ = draw(1.0, n=400, seed=1)
    a, b = (softmax(np.log(p.astype(float)) / 2).max(axis=1) for p in (known, unknown))
    found = detection(a, b, 0.5)
    assert found["auroc"] == pytest.approx(np.mean(b[:, None] < a), abs=1e-6)
    assert found["at_threshold"] == {"false_alarms": np.mean(a < 0.5), "found": np.mean(b < 0.5)}
    for row in found["found"]:
        assert row["allowed"] - 0.002 <= row["false_alarms"] <= row["allowed"]
        cut = np.sort(a)[round(row["allowed"] * 1000)]
        assert row["found"] == np.mean(b < cut)
    assert "at_threshold" not in detection(a, b, None)
