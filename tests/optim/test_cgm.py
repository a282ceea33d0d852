"""CGM against NumPy in float64, and by gradients."""

import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcdp_jax.optim import (
    contribution_ratios,
    modulation_coefficients,
    scale_by_adam_with_decoupled_cgm,
    scale_by_cgm,
    scale_by_ogm,
    true_class_confidence,
)
from dcdp_jax.optim.branches import not_negative

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


examples = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@examples
@given(res=positive, dense=positive, alpha=st.floats(2**-6, 2, width=32))
def test_coefficients_are_in_0_1_and_1_only_without_dominance(res, dense, alpha):
    """M < 1 from where float32 can tell: alpha (R - 1) = 2^-22."""
    confidence = as32({"res": res, "dense": dense})
    R = contribution_ratios(confidence)
    M = modulation_coefficients(confidence, alpha)
    for name in confidence:
        assert 0 < M[name] <= 1
        if R[name] <= 1:
            assert M[name] == 1
        if alpha * (R[name] - 1) >= 2**-22:
            assert M[name] < 1


@examples
@given(
    dense=st.floats(1, 2**15, width=32),
    ratios=st.tuples(st.floats(0, 30), st.floats(0, 30)).map(sorted),
    alphas=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted),
)
def test_coefficients_fall_with_the_ratio_and_with_alpha(dense, ratios, alphas):
    """Strictly where alpha relu(R - 1) grows by 1e-3 or more; never the other way by more than rounding."""

    def coefficient(ratio, alpha):
        return float(modulation_coefficients(as32({"res": dense * ratio, "dense": dense}), alpha)["res"])

    def exponent(ratio, alpha):
        return alpha * max(ratio - 1, 0)

    for low, high in [
        ((ratios[0], alphas[1]), (ratios[1], alphas[1])),
        ((ratios[1], alphas[0]), (ratios[1], alphas[1])),
    ]:
        assert coefficient(*high) <= coefficient(*low) * (1 + 1e-4)
        if exponent(*high) - exponent(*low) >= 1e-3:
            assert coefficient(*high) < coefficient(*low)


tiny = st.sampled_from([0.0, 1e-45, 1e-38, 1e-30, 1e-8, 1.0, 2.0**15])


@examples
@given(res=tiny, dense=tiny, alpha=st.sampled_from([0.0, 0.1, 0.9, 10.0]), dtype=st.sampled_from("efd"))
def test_no_confidence_is_no_nan(res, dense, alpha, dtype):
    with jax.enable_x64(dtype == "d"):
        S = {"res": jnp.asarray(res, dtype), "dense": jnp.asarray(dense, dtype)}
        M = modulation_coefficients(S, alpha)
        assert all(np.isfinite(m) and 0 < m <= 1 for m in M.values())
        assert all(np.isfinite(r) and r >= 0 for r in contribution_ratios(S).values())


@pytest.mark.parametrize("logit", [0.0, 3.0, 1000.0, -1000.0])
def test_a_batch_of_one_window(logit):
    """Its S is one probability, which may be 0 or 1."""
    label = jnp.zeros(1, jnp.int32)
    logits = {"res": jnp.array([[logit, 0.0]]), "dense": jnp.array([[0.0, 0.5]])}
    M = modulation_coefficients(true_class_confidence(logits, label), 0.9)
    assert all(np.isfinite(m) and 0 < m <= 1 for m in M.values())
    probability = 1 / (1 + np.exp(-np.clip([logit, -0.5], -700, 700)))
    expected = coefficients64(dict(zip(("res", "dense"), probability, strict=True)), 0.9)
    if logit > -1000:  # below, dense dominates by more than float64's 1 - tanh can tell from 0
        for name, m in expected.items():
            np.testing.assert_allclose(M[name], m, rtol=1e-5)


@examples
@given(res=positive, dense=positive, double=st.booleans())
def test_two_branches_have_the_papers_ratio_to_the_last_bit(res, dense, double):
    dtype = np.float64 if double else np.float32
    with jax.enable_x64(double):
        R = contribution_ratios({"res": jnp.asarray(res, dtype), "dense": jnp.asarray(dense, dtype)})
        M = modulation_coefficients({"res": jnp.asarray(res, dtype), "dense": jnp.asarray(dense, dtype)}, 0.9)
        assert R["res"] == dtype(res) / (dtype(dense) + dtype(1e-8))
        assert R["dense"] == dtype(dense) / (dtype(res) + dtype(1e-8))
        # A third branch that is like the second changes nothing for the first.
        three = {"res": jnp.asarray(res, dtype), "dense": jnp.asarray(dense, dtype), "third": jnp.asarray(dense, dtype)}
        assert modulation_coefficients(three, 0.9)["res"] == M["res"]


@examples
@given(confidence=st.lists(st.floats(1, 128, width=32), min_size=2, max_size=5), data=st.data())
def test_permuting_branches_permutes_ratios_and_coefficients(confidence, data):
    """To the last bit up to three branches; then the order of a sum shows: 1e-6 relative in R, 1e-3 in M."""
    names = [f"b{i}" for i in range(len(confidence))]
    other = dict(zip(names, data.draw(st.permutations(names)), strict=True))
    S = as32(dict(zip(names, confidence, strict=True)))
    permuted = {other[name]: value for name, value in S.items()}
    exact = len(confidence) <= 3
    for function, tolerance in ((contribution_ratios, 1e-6), (lambda s: modulation_coefficients(s, 0.9), 1e-3)):
        found, expected = function(permuted), function(S)
        for name in names:
            np.testing.assert_allclose(found[other[name]], expected[name], rtol=0 if exact else tolerance)


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


@pytest.mark.parametrize("number", [float, int, np.float32, np.float64, np.array])
def test_confidences_may_be_numbers_of_python_and_numpy(number):
    tx, params = scale_by_cgm(LABELS), {name: jnp.ones(3) for name in LABELS}
    plain, state = tx.update(params, tx.init(params), confidence=as32({"res": 60, "dense": 40}))
    found, after = tx.update(params, tx.init(params), confidence={"res": number(60), "dense": number(40)})
    chex.assert_trees_all_equal((plain, state), (found, after))
    chex.assert_trees_all_equal_dtypes((plain, state), (found, after))


def test_confidences_that_were_not_summed_are_an_error():
    probabilities = {"res": jnp.ones(64), "dense": jnp.float32(40)}
    tx, params = scale_by_cgm(LABELS), {name: jnp.ones(3) for name in LABELS}
    with pytest.raises(ValueError, match=r"confidence\['res'\] has shape \(64,\), expected \(\)"):
        tx.update(params, tx.init(params), confidence=probabilities)
    with pytest.raises(ValueError, match=r"confidence\['res'\] has shape \(64,\)"):
        modulation_coefficients(probabilities, 0.9)


@pytest.mark.parametrize("alpha", [-0.1, float("nan"), float("inf"), np.float64(-1.0), jnp.float32(-1)])
def test_a_negative_alpha_is_refused(alpha):
    for make in (
        lambda: scale_by_cgm(LABELS, alpha),
        lambda: scale_by_ogm(LABELS, alpha),
        lambda: scale_by_adam_with_decoupled_cgm(LABELS, alpha=alpha),
        lambda: modulation_coefficients(as32({"res": 60, "dense": 40}), alpha),
    ):
        with pytest.raises(ValueError, match=r"alpha=.* expected 0 or more"):
            make()


@pytest.mark.parametrize("alpha", [np.array(-1.0), np.array([0.1, 0.2]), jnp.ones(2), "0.9", None])
def test_a_strength_that_is_no_number_is_refused(alpha):
    with pytest.raises(ValueError, match=r"alpha=.* expected 0 or more"):
        not_negative("alpha", alpha)


def test_callable_labels_under_inject_hyperparams_are_static():
    """optax takes any other callable for a schedule; a label function is one argument of `static_args`."""
    make = optax.inject_hyperparams(scale_by_cgm, static_args=("labels",))
    tx, params = make(lambda tree: {name: LABELS[name] for name in tree}, alpha=0.9), {n: jnp.ones(3) for n in LABELS}
    plain = scale_by_cgm(LABELS, alpha=0.9)
    confidence = as32({"res": 60.0, "dense": 40.0})
    found, state = jax.jit(tx.update)(params, tx.init(params), params, confidence=confidence)
    expected, _ = jax.jit(plain.update)(params, plain.init(params), params, confidence=confidence)
    chex.assert_trees_all_close(found, expected, rtol=1e-6)
    assert set(state.hyperparams) == {"alpha", "eps"}


def softmax64(logits):
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("masked", [False, True])
def test_true_class_confidence_against_numpy(masked):
    rng = np.random.default_rng(0)
    logits, labels, mask = 3 * rng.normal(size=(2, 16, 4)), rng.integers(0, 4, 16), rng.random(16) < 0.6
    arrays = {name: jnp.asarray(z, jnp.float32) for name, z in zip(("res", "dense"), logits, strict=True)}
    kept = {"mask": jnp.asarray(mask)} if masked else {}
    found = true_class_confidence(arrays, jnp.asarray(labels), **kept)
    for name, z in zip(("res", "dense"), logits, strict=True):
        own = softmax64(z)[np.arange(16), labels]
        np.testing.assert_allclose(found[name], own[mask].sum() if masked else own.sum(), rtol=1e-5)


def test_true_class_confidence_is_summed_over_a_named_axis():
    rng = np.random.default_rng(1)
    logits, labels = jnp.asarray(rng.normal(size=(8, 4, 3)), jnp.float32), jnp.asarray(rng.integers(0, 3, (8, 4)))
    per_device = jax.pmap(lambda z, y: true_class_confidence({"res": z}, y, "data")["res"], axis_name="data")
    whole = true_class_confidence({"res": logits.reshape(32, 3)}, labels.reshape(32))["res"]
    np.testing.assert_allclose(per_device(logits, labels), np.full(8, whole), rtol=1e-6)


def test_one_branch_has_nothing_to_compare():
    with pytest.raises(ValueError, match="two or more"):
        modulation_coefficients({"res": jnp.float32(1)}, 0.9)


def test_integers_are_scaled_and_not_rounded_to_zero():
    params = {name: jnp.array([10, -20]) for name in LABELS}
    tx = scale_by_cgm(LABELS)
    updates, state = tx.update(params, tx.init(params), confidence=as32({"res": 60, "dense": 40}))
    np.testing.assert_allclose(updates["res"], np.array([10, -20]) * float(state.coefficients["res"]))


@pytest.mark.parametrize("confidence", [60.0, (60.0, 40.0), jnp.ones(2)])
def test_a_confidence_that_is_no_mapping_is_an_error(confidence):
    tx, params = scale_by_cgm(LABELS), {name: jnp.ones(3) for name in LABELS}
    with pytest.raises(ValueError, match=r"scale_by_cgm: confidence is of the type \w+, expected {branch: \(\)}"):
        tx.update(params, tx.init(params), confidence=confidence)


@pytest.mark.parametrize("shape", [(1,), (4, 1), (4, 3)])
def test_labels_that_are_not_one_for_each_window_are_an_error(shape):
    compute = inspect.unwrap(true_class_confidence)  # without the types that tests check
    with pytest.raises(ValueError, match=r"labels have the shape .* expected \(b,\) and \(b, k\)"):
        compute({"res": jnp.zeros((4, 3))}, jnp.zeros(shape, jnp.int32))
