"""InfoReg against its released computation, epoch by epoch, in NumPy and float64."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcdp_jax.optim import scale_by_inforeg

LABELS = {"res": "res", "dense": "dense", "fusion": None}
SHAPES = {"res": {"w": (4, 3), "b": (3,)}, "dense": {"w": (2, 3)}, "fusion": {"w": (2, 2)}}
EPOCH, BETA, THRESHOLD, RATE = 3, 0.95, 0.04, 0.1


def random_tree(rng, scale=1.0):
    return {name: {key: scale * rng.normal(size=s) for key, s in tree.items()} for name, tree in SHAPES.items()}


def reference(params, gradients, confidences):
    """main.py's loop with lists of traces; regulates whichever branch is ahead. Gradient descent with RATE."""
    traces, seen = {"res": [], "dense": []}, []
    for start in range(0, len(gradients), EPOCH):
        at_start = jax.tree.map(np.copy, params)
        fim = dict.fromkeys(traces, 0.0)
        for g, S in zip(gradients[start : start + EPOCH], confidences[start : start + EPOCH], strict=True):
            g, coefficients = jax.tree.map(np.copy, g), {}
            for name, other in (("res", "dense"), ("dense", "res")):
                if start == 0:
                    k = 1.0
                else:
                    tr1, tr2 = sum(traces[name][-10:]) / 10, sum(traces[name][-11:-1]) / 10
                    k = (tr1 - tr2) / tr1
                ahead = S[name] > S[other] and k > THRESHOLD
                coefficients[name] = BETA * np.exp(np.tanh(S[name] - S[other])) if ahead else 0.0
                for key in g[name]:
                    g[name][key] += coefficients[name] * (params[name][key] - at_start[name][key])
                    if g[name][key].ndim > 1:
                        fim[name] += np.mean(g[name][key] ** 2)
            params = jax.tree.map(lambda p, x: p - RATE * x, params, g)
            seen.append((coefficients, g))
        for name in traces:
            traces[name].append(fim[name])
    return seen


def test_against_numpy_over_many_epochs():
    """The window opens in the first epochs, closes while the gradients shrink and opens again as they grow."""
    rng = np.random.default_rng(0)
    steps = 16 * EPOCH
    scale = [2.0 if step < 4 * EPOCH or step > 13 * EPOCH else 0.3 for step in range(steps)]
    params, gradients = random_tree(rng), [random_tree(rng, s) for s in scale]
    confidences = [{"res": rng.uniform(0, 2), "dense": rng.uniform(0, 2)} for _ in range(steps)]
    expected = reference(params, gradients, confidences)
    with jax.enable_x64(True):
        tx = scale_by_inforeg(LABELS, EPOCH, BETA, THRESHOLD)
        update, state = jax.jit(tx.update), tx.init(params)
        current = jax.tree.map(jnp.asarray, params)
        for g, S, (coefficients, regulated) in zip(gradients, confidences, expected, strict=True):
            updates, state = update(g, state, current, confidence=S)
            for name, c in coefficients.items():
                np.testing.assert_allclose(state.coefficients[name], c, rtol=1e-5)
            jax.tree.map(lambda u, x: np.testing.assert_allclose(u, x, rtol=1e-5, atol=1e-6), updates, regulated)
            current = jax.tree.map(lambda p, u: p - RATE * u, current, updates)
    acted = [any(c > 0 for c in coefficients.values()) for coefficients, _ in expected]
    assert all(acted[:EPOCH])
    assert not any(acted[8 * EPOCH : 10 * EPOCH])
    assert any(acted[14 * EPOCH :])


def test_three_branches_are_compared_with_the_mean_of_the_others():
    labels = {name: name for name in "abc"}
    params = {name: jnp.ones(2) for name in "abc"}
    tx = scale_by_inforeg(labels, 10)
    _, state = tx.update(params, tx.init(params), params, confidence={"a": 1.0, "b": 0.2, "c": 0.4})
    assert float(state.coefficients["a"]) == pytest.approx(BETA * np.exp(np.tanh(1 - 0.3)), rel=1e-5)
    assert float(state.coefficients["b"]) == float(state.coefficients["c"]) == 0


def test_without_gradients_there_is_no_nan():
    params = {name: jnp.zeros((2, 2)) for name in LABELS}
    tx = scale_by_inforeg(LABELS, 1)
    state = tx.init(params)
    for _ in range(3):
        updates, state = tx.update(params, state, params, confidence={"res": 1.0, "dense": 0.0})
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((updates, state)))


def test_what_it_needs():
    params = {name: jnp.ones(2) for name in LABELS}
    tx = scale_by_inforeg(LABELS, 5)
    with pytest.raises(ValueError, match="needs params"):
        tx.update(params, tx.init(params), confidence={"res": 1.0, "dense": 0.0})
    with pytest.raises(ValueError, match="epoch=0"):
        scale_by_inforeg(LABELS, 0)


@pytest.mark.parametrize("epoch", [0, 2.5])
def test_an_epoch_is_a_whole_number_of_updates(epoch):
    with pytest.raises(ValueError, match=r"epoch=.* is not a positive whole number"):
        inspect.unwrap(scale_by_inforeg)({"a": "a", "b": "b"}, epoch)  # without the types that tests check


def test_the_trace_of_complex_gradients_has_both_of_their_parts():
    tx, params = scale_by_inforeg({"a": "a", "b": "b"}, 4), {name: jnp.full((2, 2), 3 + 4j) for name in "ab"}
    _, state = tx.update(params, tx.init(params), params, confidence={"a": 2.0, "b": 1.0})
    assert float(state.trace["a"]) == pytest.approx(25)
