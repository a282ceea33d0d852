"""CGM against NumPy in float64, and by gradients."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcdp_jax.optim import contribution_ratios, modulation_coefficients, scale_by_cgm

pytestmark = pytest.mark.usefixtures("strict_types")
LABELS = {"res": "res", "dense": "dense", "fusion": None}


def coefficients64(confidence, alpha, eps=1e-8):
    """Section 3.3 with the general rule for more than two branches."""
    M = {}
    for name in confidence:
        others = [S for other, S in confidence.items() if other != name]
        R = confidence[name] / (np.mean(others) + eps)
        M[name] = 1 - np.tanh(alpha * max(R - 1, 0)) if R > 1 else 1.0
    return M


def as32(confidence):
    return {name: jnp.float32(S) for name, S in confidence.items()}


@pytest.mark.parametrize(("R", "M"), [(1.05, 0.955), (1.25, 0.779), (1.5, 0.578), (2, 0.284), (3, 0.053)])
def test_examples_of_the_specification(R, M):
    found = modulation_coefficients(as32({"res": 10 * R, "dense": 10.0}), 0.9)
    assert round(float(found["res"]), 3) == M
    assert float(found["dense"]) == 1


@pytest.mark.parametrize("branches", [2, 3, 5])
def test_coefficients_against_numpy(branches):
    rng = np.random.default_rng(branches)
    for _ in range(50):
        confidence = {f"b{i}": rng.uniform(0, 128) for i in range(branches)}
        alpha = rng.uniform(0, 1.5)
        found = modulation_coefficients(as32(confidence), alpha)
        for name, M in coefficients64(confidence, alpha).items():
            np.testing.assert_allclose(found[name], M, rtol=2e-4, atol=1e-7)


positive = st.floats(0, 2.0**15, width=32, allow_subnormal=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(res=positive, dense=positive, alpha=st.floats(2**-6, 2, width=32))
def test_coefficients_are_in_0_1_and_1_only_without_dominance(res, dense, alpha):
    confidence = as32({"res": res, "dense": dense})
    R = contribution_ratios(confidence)
    M = modulation_coefficients(confidence, alpha)
    for name in confidence:
        assert 0 < M[name] <= 1
        if R[name] <= 1:
            assert M[name] == 1
        if R[name] > 1.001:
            assert M[name] < 1


@pytest.mark.parametrize("S", [{"res": 0.0, "dense": 0.0}, {"res": 1e-30, "dense": 0.0}, {"res": 1e-30, "dense": 1.0}])
def test_no_confidence_is_no_nan(S):
    M = modulation_coefficients(as32(S), 0.9)
    assert all(np.isfinite(m) and 0 < m <= 1 for m in M.values())


def test_permuting_branches_permutes_coefficients():
    S = {"a": 3.0, "b": 7.0, "c": 1.0}
    M = modulation_coefficients(as32(S), 0.9)
    other = {"b": "a", "c": "b", "a": "c"}
    permuted = modulation_coefficients(as32({other[name]: s for name, s in S.items()}), 0.9)
    assert all(permuted[other[name]] == M[name] for name in S)


def test_only_the_dominant_branch_is_scaled_and_exactly_by_M():
    rng = np.random.default_rng(0)
    gradients = {name: {"w": jnp.asarray(rng.normal(size=(4, 3)), jnp.float32)} for name in LABELS}
    tx = scale_by_cgm(LABELS, alpha=0.9)
    confidence = as32({"res": 60.0, "dense": 40.0})
    updates, state = tx.update(gradients, tx.init(gradients), confidence=confidence)
    M = modulation_coefficients(confidence, 0.9)
    assert M["res"] < 1
    np.testing.assert_array_equal(updates["res"]["w"], gradients["res"]["w"] * M["res"])
    for name in ("dense", "fusion"):
        np.testing.assert_array_equal(updates[name]["w"], gradients[name]["w"])
    assert state.coefficients == M


def test_labels_as_a_callable_and_dtypes():
    gradients = {"res": jnp.ones(2, jnp.bfloat16), "dense": jnp.ones(2, jnp.float16), "fusion": jnp.ones(2)}
    tx = scale_by_cgm(lambda tree: {name: LABELS[name] for name in tree})
    updates, state = jax.jit(tx.update)(gradients, tx.init(gradients), confidence=as32({"res": 2.0, "dense": 1.0}))
    assert {name: u.dtype for name, u in updates.items()} == {name: g.dtype for name, g in gradients.items()}
    assert jax.tree.structure(state) == jax.tree.structure(tx.init(gradients))


def test_no_gradient_flows_through_M():
    """S is a statistic: the update is linear in the gradient with M constant."""
    tx = optax.chain(scale_by_cgm(LABELS), optax.sgd(1.0))
    params = {name: jnp.ones(3) for name in LABELS}
    confidence = as32({"res": 5.0, "dense": 2.0})
    one, _ = tx.update(params, tx.init(params), params, confidence=confidence)
    two, _ = tx.update(jax.tree.map(lambda p: 2 * p, params), tx.init(params), params, confidence=confidence)
    chex.assert_trees_all_equal(jax.tree.map(lambda u: 2 * u, one), two)


@pytest.mark.parametrize("confidence", [None, {"res": jnp.float32(1)}, as32({"res": 1.0, "other": 1.0})])
def test_missing_confidence_is_an_error(confidence):
    tx = scale_by_cgm(LABELS)
    params = {name: jnp.ones(3) for name in LABELS}
    with pytest.raises(ValueError, match="confidence"):
        tx.update(params, tx.init(params), confidence=confidence)


def test_one_branch_has_nothing_to_compare():
    with pytest.raises(ValueError, match="two or more"):
        modulation_coefficients({"res": jnp.float32(1)}, 0.9)
