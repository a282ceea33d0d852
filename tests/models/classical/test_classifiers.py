"""Tests the classifiers of features: ridge regression in closed form, and the optimum of logistic regression."""

import numpy as np
import pytest

from dcdp_jax.models.classical.classifiers import (
    ALPHAS,
    extra_trees,
    gradient_boosting,
    linear,
    random_forest,
    ridge,
    sparse_ridge,
)

pytest.importorskip("sklearn")
pytestmark = pytest.mark.usefixtures("one_thread")
rng = np.random.default_rng(0)
LABELS = rng.permuted(np.repeat([0, 2, 3], 12))  # no window has the class 1
FEATURES = (rng.normal(size=(36, 4)) + LABELS[:, None] / 3).astype(np.float32)


def solve(x, y, alpha):
    """Returns the coefficients (f + 1, k) of ridge regression, the last row the intercepts, which have no penalty."""
    x = np.column_stack([x, np.ones(len(x))])
    return np.linalg.solve(x.T @ x + alpha * np.diag([1.0] * (x.shape[1] - 1) + [0]), x.T @ y)


def expected_of_ridge(x, labels):
    """Returns the softmax of the decision values, with the penalty of the least leave-one-out error."""
    y = np.where(labels[:, None] == np.unique(labels), 1.0, -1.0)
    with_one = np.column_stack([x, np.ones(len(x))])
    errors = []
    for alpha in ALPHAS:
        rest = [np.arange(len(x)) != left_out for left_out in range(len(x))]
        predicted = [with_one[i] @ solve(x[rest[i]], y[rest[i]], alpha) for i in range(len(x))]
        errors.append(np.mean((np.array(predicted) - y) ** 2))
    values = np.exp(with_one @ solve(x, y, ALPHAS[np.argmin(errors)]))
    return values / values.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 3])
def test_ridge(classes):
    chosen = np.isin(LABELS, (0, 2, 3)[:classes])
    x, labels = FEATURES[chosen], LABELS[chosen]
    fitted = ridge(x, labels, 0)
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    np.testing.assert_allclose(fitted.predict(x), expected_of_ridge(standard, labels), atol=1e-4)
    assert fitted.parameters == 5 * (classes if classes > 2 else 1)


def test_sparse_ridge():
    """Counts of zero, and what is below, stay zero when the others are standardised."""
    x = np.maximum(FEATURES, 0)
    assert (x == 0).any(axis=0).all()
    roots = np.sqrt(x.astype(np.float64))
    scale = roots.std(axis=0, ddof=1) + (x == 0).mean(axis=0) ** 4 + 1e-8
    standard = np.where(x == 0, 0, (roots - roots.mean(axis=0)) / scale)
    predicted = sparse_ridge(FEATURES, LABELS, 0).predict(FEATURES)
    np.testing.assert_allclose(predicted, expected_of_ridge(standard, LABELS), atol=1e-4)


def test_linear():
    """At the optimum the gradient of the penalised cross-entropy, by numeric differences, is zero."""
    fitted = linear(FEATURES, LABELS, 0)
    x = ((FEATURES - FEATURES.mean(axis=0)) / FEATURES.std(axis=0)).astype(np.float64)
    p = fitted.predict(FEATURES)
    logits = np.log(p) - np.log(p).mean(axis=1, keepdims=True)
    coefficients = np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), logits, rcond=None)[0]
    error = p - (LABELS[:, None] == np.unique(LABELS))
    np.testing.assert_allclose(x.T @ error + coefficients[:-1], 0, atol=1e-2)
    np.testing.assert_allclose(error.sum(axis=0), 0, atol=1e-2)
    assert fitted.parameters == 5 * 3


@pytest.mark.parametrize("fit", [random_forest, extra_trees, gradient_boosting])
def test_trees(fit):
    labels = np.tile([0, 2, 3], 60)
    noise = np.random.default_rng(1).normal(scale=0.3, size=(2, 180, 4)).astype(np.float32)
    train, test = noise + labels[:, None]
    one, again, other = fit(train, labels, 0), fit(train, labels, 0), fit(train, labels, 1)
    found = one.predict(test)
    assert found.shape == (180, 3)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert (np.unique(labels)[found.argmax(axis=1)] == labels).mean() > 0.9
    np.testing.assert_array_equal(found, again.predict(test))
    if fit is not gradient_boosting:
        assert not np.array_equal(found, other.predict(test))
    assert one.parameters > 300


def test_penalty_of_boosting():
    """Two separable classes of n windows: Newton's steps on a leaf per class, with a penalty of 1, in NumPy."""
    n, rounds, rate, score = 30, 100, 0.1, 0.0
    for _ in range(rounds):
        p = 1 / (1 + np.exp(-score))
        score += rate * n * (1 - p) / (n * p * (1 - p) + 1)
    labels = np.repeat([0, 1], n)
    found = gradient_boosting(labels[:, None].astype(np.float32), labels, 0).predict(np.array([[1.0]], np.float32))
    np.testing.assert_allclose(np.log(found[0, 1] / found[0, 0]), score, rtol=1e-4)


def test_number_of_trees():
    assert random_forest(FEATURES, LABELS, 0).smallest == 0.5 / 300
    assert extra_trees(FEATURES, LABELS, 0).smallest == 0.5 / 200
