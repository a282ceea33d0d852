"""The magnitude of CGGM against NumPy in float64, over several updates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcdp_jax.optim import cggm_coefficients, scale_by_cggm

LABELS = {"res": "res", "dense": "dense", "third": "third", "fusion": None}


def test_several_updates_against_numpy():
    """Tolerance 1e-5 relative: accuracies are multiples of 1/64 and their differences exact."""
    rng = np.random.default_rng(0)
    tx = scale_by_cggm(LABELS, rho=1.3)
    update = jax.jit(tx.update)
    gradients = {name: rng.normal(size=4) for name in LABELS}
    state = tx.init(gradients)
    before = dict.fromkeys(("res", "dense", "third"), 0.0)
    for step in range(1, 9):
        accuracy = {name: (6 * step + rng.integers(0, 6)) / 64 for name in before}
        gains = {name: accuracy[name] - before[name] for name in before}
        updates, state = update(
            jax.tree.map(lambda g: jnp.asarray(g, jnp.float32), gradients),
            state,
            accuracy={name: jnp.float32(a) for name, a in accuracy.items()},
        )
        for name, gain in gains.items():
            others = sum(gains.values()) - gain
            coefficient = 1.3 * others / sum(gains.values())
            np.testing.assert_allclose(updates[name], coefficient * gradients[name], rtol=1e-5)
            assert float(state.coefficients[name]) == pytest.approx(coefficient, rel=1e-5)
        np.testing.assert_array_equal(updates["fusion"], gradients["fusion"].astype(np.float32))
        before = accuracy


def test_no_improvement_is_no_nan():
    still = cggm_coefficients({"a": jnp.float32(0), "b": jnp.float32(0)}, 1.3)
    opposite = cggm_coefficients({"a": jnp.float32(0.1), "b": jnp.float32(-0.1)}, 1.3)
    assert {name: float(c) for name, c in still.items()} == {name: pytest.approx(1.3) for name in still}
    assert all(np.isfinite(c) for c in opposite.values())


@pytest.mark.parametrize("accuracy", [None, {"res": jnp.float32(1)}])
def test_missing_accuracy_is_an_error(accuracy):
    params = {name: jnp.ones(3) for name in LABELS}
    tx = scale_by_cggm(LABELS)
    with pytest.raises(ValueError, match="accuracy"):
        tx.update(params, tx.init(params), accuracy=accuracy)


def test_one_branch_alone_is_refused():
    """The share of the other branches would be 0, and the branch would not train."""
    tx = scale_by_cggm({"res": "res"})
    params = {"res": jnp.ones(2)}
    with pytest.raises(ValueError, match="two or more branches, got \\['res'\\]"):
        tx.update(params, tx.init(params), accuracy={"res": 0.5})
