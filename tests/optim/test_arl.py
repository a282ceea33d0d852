"""ARL's weights against the released computation, in NumPy and float64."""

import jax.numpy as jnp
import numpy as np
import pytest

from dcdp_jax.optim import arl_coefficients, branch_accuracy, logit_magnitude, prediction_entropy, scale_by_arl

LABELS = {"res": "res", "dense": "dense", "fusion": None}


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def released(out_a, out_v, temperature):
    """main_arl_variance.py, line by line, for logits (b, k) of two modalities."""
    calculate_a, calculate_b = (np.abs(out).mean(axis=0).sum() for out in (out_a, out_v))
    H_a, H_v = ((-softmax(out) * np.log(softmax(out) + 1e-16)).sum(axis=1).mean() for out in (out_a, out_v))
    H_a, H_v = max(H_a / (H_a + H_v), 0.3), max(H_v / (H_a + H_v), 0.3)
    a_weight, v_weight = 1 / H_a, 1 / H_v
    calculate_a, calculate_b = calculate_a / (calculate_a + calculate_b), calculate_b / (calculate_a + calculate_b)
    a_weight, v_weight = a_weight / (a_weight + v_weight), v_weight / (a_weight + v_weight)
    weight = softmax(np.array([calculate_b * a_weight, calculate_a * v_weight]) * temperature)
    return 1 + weight  # GradScale: grad_output + grad_output * weight


@pytest.mark.parametrize("scales", [(1, 1), (3, 1), (0.2, 5)])
def test_against_the_released_code(scales):
    """Tolerance 1e-5 relative; the last scales reach the least share."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        logits = {name: s * rng.normal(size=(32, 5)) for name, s in zip(("res", "dense"), scales, strict=True)}
        temperature = rng.uniform(0, 10)
        arrays = {name: jnp.asarray(z, jnp.float32) for name, z in logits.items()}
        found = arl_coefficients(prediction_entropy(arrays), logit_magnitude(arrays), temperature)
        expected = released(logits["res"], logits["dense"], temperature)
        np.testing.assert_allclose([found["res"], found["dense"]], expected, rtol=1e-5)


def test_more_branches_against_numpy():
    rng = np.random.default_rng(1)
    H, d = rng.uniform(0.1, 2, 4), rng.uniform(1, 5, 4)
    q = 1 / np.maximum(H / H.sum(), 0.2)
    others = np.array([np.delete(d / d.sum(), i).mean() for i in range(4)])
    expected = 1 + softmax(6 * others * q / q.sum())
    names = ["a", "b", "c", "d"]
    found = arl_coefficients(dict(zip(names, H, strict=True)), dict(zip(names, d, strict=True)), 6.0, 0.2)
    np.testing.assert_allclose([found[name] for name in names], expected, rtol=1e-5)


def test_the_certain_branch_learns_more():
    found = arl_coefficients({"res": 0.2, "dense": 1.8}, {"res": 1.0, "dense": 1.0})
    assert found["res"] > found["dense"]


def test_nothing_said_is_no_nan():
    zero = {"res": 0.0, "dense": 0.0}
    assert {float(c) for c in arl_coefficients(zero, zero).values()} == {1.5}


@pytest.mark.parametrize("missing", ["entropy", "magnitude"])
def test_a_missing_keyword_is_an_error(missing):
    params = {name: jnp.ones(3) for name in LABELS}
    keywords = {name: {"res": 1.0, "dense": 1.0} for name in ("entropy", "magnitude") if name != missing}
    tx = scale_by_arl(LABELS)
    with pytest.raises(ValueError, match=missing):
        tx.update(params, tx.init(params), **keywords)


def test_the_statistics_of_a_batch_against_numpy():
    rng = np.random.default_rng(2)
    logits, labels = 2 * rng.normal(size=(24, 4)), rng.integers(0, 4, 24)
    z = {"res": jnp.asarray(logits, jnp.float32)}
    p = softmax(logits)
    np.testing.assert_allclose(prediction_entropy(z)["res"], -(p * np.log(p)).sum(axis=1).mean(), rtol=1e-5)
    np.testing.assert_allclose(logit_magnitude(z)["res"], np.abs(logits).sum(axis=1).mean(), rtol=1e-5)
    accuracy = np.mean(logits.argmax(axis=1) == labels)
    np.testing.assert_allclose(branch_accuracy(z, jnp.asarray(labels))["res"], accuracy, rtol=1e-6)
