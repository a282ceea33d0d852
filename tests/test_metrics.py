"""Scores against scikit-learn, on random predictions and on lopsided ones."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from dcdp_jax.calibration import CALIBRATION_BINS, class_scores
from dcdp_jax.metrics import scores, tally

pytestmark = pytest.mark.usefixtures("strict_types")


def sklearn_scores(true, predicted):
    expected = {"accuracy": accuracy_score(true, predicted)}
    for average in ("macro", "weighted"):
        values = precision_recall_fscore_support(true, predicted, average=average, zero_division=0)[:3]
        expected |= {
            f"{name}_{average}": value for name, value in zip(("precision", "recall", "f1"), values, strict=True)
        }
    return expected


pairs = st.integers(2, 6).flatmap(
    lambda k: st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)), min_size=1, max_size=60)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(pairs)
def test_scores_equal_scikit_learn(rows):
    true, predicted = zip(*rows, strict=True)
    counts = confusion_matrix(true, predicted, labels=range(6))
    assert scores(counts) == pytest.approx(sklearn_scores(true, predicted), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_class_scores_agree_with_scikit_learn(seed):
    confusion = np.random.default_rng(seed).integers(0, 9, (6, 6))
    confusion[2], confusion[:, 4] = 0, 0
    true, predicted = (np.repeat(axis.ravel(), confusion.ravel()) for axis in np.indices(confusion.shape))
    expected = precision_recall_fscore_support(true, predicted, labels=range(6), zero_division=0)[:3]
    np.testing.assert_allclose(list(class_scores(confusion).values()), expected, rtol=1e-12)


def test_nothing_counted_is_an_error():
    with pytest.raises(ValueError, match="no window"):
        scores(np.zeros((3, 3)))


def test_tally_counts_only_rows_under_the_mask():
    rng = np.random.default_rng(0)
    b, k = 40, 5
    logits, branch = rng.normal(size=(2, b, k)) * 2
    labels, mask = rng.integers(0, k, b), rng.random(b) < 0.7
    found = tally(
        jnp.asarray(logits, jnp.float32),
        {"res": jnp.asarray(branch, jnp.float32)},
        jnp.asarray(labels, jnp.int32),
        jnp.asarray(mask),
    )
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    q = np.exp(branch) / np.exp(branch).sum(axis=1, keepdims=True)
    rows = np.flatnonzero(mask)
    np.testing.assert_array_equal(
        found.confusion, confusion_matrix(labels[rows], logits[rows].argmax(axis=1), labels=range(k))
    )
    np.testing.assert_allclose(found.loss, -np.log(p[rows, labels[rows]]).sum(), rtol=1e-5)
    np.testing.assert_allclose(found.confidence["res"], q[rows, labels[rows]].sum(), rtol=1e-5)
    accuracy = np.mean(branch[rows].argmax(axis=1) == labels[rows])
    assert found.branch_accuracy()["res"] == pytest.approx(accuracy)
    top, hit = p[rows].max(axis=1), logits[rows].argmax(axis=1) == labels[rows]
    ece = 0.0
    for low in np.arange(CALIBRATION_BINS) / CALIBRATION_BINS:
        inside = (top >= low) & (top < low + 1 / CALIBRATION_BINS)
        if inside.any():
            ece += inside.mean() * abs(hit[inside].mean() - top[inside].mean())
    assert found.scores()["ece"] == pytest.approx(ece, abs=1e-5)
