"""Where the modulation acts: ahead of Adam it cancels, behind it or decoupled it does not."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dcdp_jax.optim import modulation_coefficients, scale_by_adam_with_decoupled_cgm, scale_by_cgm
from tests.optim.chains import make_chain

LABELS = {"res": "res", "dense": "dense", "fusion": None}
S = {"res": jnp.float32(60), "dense": jnp.float32(40)}
M = float(modulation_coefficients(S, 0.9)["res"])


def make(name, placement, labels=LABELS, alpha=0.9):
    return make_chain(name, labels=labels, arguments={"alpha": alpha}, placement=placement)


def travelled(tx, steps=200):
    """Displacement per branch under gradients of constant statistics, and the last update."""
    rng = np.random.default_rng(0)
    params = {name: jnp.zeros(64) for name in LABELS}
    state, total = tx.init(params), params
    update = jax.jit(tx.update)
    for _ in range(steps):
        gradients = {name: jnp.asarray(rng.normal(0.5, 1, 64), jnp.float32) for name in LABELS}
        updates, state = update(gradients, state, params, confidence=S)
        total = optax.apply_updates(total, updates)
    return {name: float(jnp.linalg.norm(x)) for name, x in total.items()}, updates


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_ahead_of_adam_the_modulation_cancels(name):
    modulated, _ = travelled(make(name, "before"))
    plain, _ = travelled(make(name, "before", labels=None))
    assert modulated["res"] == pytest.approx(plain["res"], rel=1e-3)


@pytest.mark.parametrize("placement", ["after", "decoupled"])
@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_behind_adam_or_decoupled_the_update_is_M_times_the_plain_one(name, placement):
    _, modulated = travelled(make(name, placement))
    _, plain = travelled(make(name, placement, labels=None))
    np.testing.assert_allclose(modulated["res"], M * plain["res"], rtol=1e-3)
    for other in ("dense", "fusion"):
        np.testing.assert_array_equal(modulated[other], plain[other])


@pytest.mark.parametrize("placement", ["before", "after", "decoupled"])
def test_with_sgd_every_placement_scales(placement):
    modulated, _ = travelled(make("sgd", placement))
    plain, _ = travelled(make("sgd", placement, labels=None))
    assert modulated["res"] == pytest.approx(M * plain["res"], rel=1e-5)


def test_decoupled_without_dominance_is_adam():
    tx, adam = scale_by_adam_with_decoupled_cgm(LABELS, alpha=0.0), optax.scale_by_adam()
    rng = np.random.default_rng(0)
    params = {name: jnp.zeros(8) for name in LABELS}
    state, expected_state = tx.init(params), adam.init(params)
    for _ in range(5):
        gradients = {name: jnp.asarray(rng.normal(size=8), jnp.float32) for name in LABELS}
        updates, state = tx.update(gradients, state, params, confidence=S)
        expected, expected_state = adam.update(gradients, expected_state, params)
        chex.assert_trees_all_close(updates, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "options",
    [{}, {"eps_root": 1e-3}, {"mu_dtype": "bfloat16"}, {"nesterov": True}, {"nesterov": True, "mu_dtype": "float32"}],
    ids=str,
)
def test_decoupled_without_modulation_equals_adam_with_every_option(options, dtype):
    """To the last bit: with alpha = 0 every M is 1, and the moments have the same dtypes."""
    tx, adam = scale_by_adam_with_decoupled_cgm(LABELS, alpha=0.0, **options), optax.scale_by_adam(**options)
    rng = np.random.default_rng(0)
    params = {name: jnp.zeros(8, dtype) for name in LABELS}
    state, expected_state = tx.init(params), adam.init(params)
    for _ in range(4):
        gradients = {name: jnp.asarray(rng.normal(size=8), dtype) for name in LABELS}
        updates, state = tx.update(gradients, state, params, confidence=S)
        expected, expected_state = adam.update(gradients, expected_state, params)
        chex.assert_trees_all_equal(updates, expected)
        for moment in ("mu", "nu"):
            chex.assert_trees_all_equal(getattr(state, moment), getattr(expected_state, moment))
            chex.assert_trees_all_equal_dtypes(getattr(state, moment), getattr(expected_state, moment))


def test_decoupled_against_numpy():
    rng = np.random.default_rng(1)
    tx = scale_by_adam_with_decoupled_cgm({"res": "res", "dense": "dense"}, 0.8, 0.95, 1e-6, alpha=0.7)
    params = {"res": jnp.zeros(5), "dense": jnp.zeros(5)}
    state, m, v = tx.init(params), np.zeros(5), np.zeros(5)
    for t in range(1, 11):
        g, confidence = rng.normal(size=5), {"res": rng.uniform(30, 60), "dense": rng.uniform(10, 40)}
        R = confidence["res"] / (confidence["dense"] + 1e-8)
        coefficient = 1 - np.tanh(0.7 * max(R - 1, 0))
        m, v = 0.8 * m + 0.2 * coefficient * g, 0.95 * v + 0.05 * g**2
        expected = m / (1 - 0.8**t) / (np.sqrt(v / (1 - 0.95**t)) + 1e-6)
        gradients = {"res": jnp.asarray(g, jnp.float32), "dense": jnp.zeros(5)}
        updates, state = tx.update(
            gradients, state, params, confidence={name: jnp.float32(s) for name, s in confidence.items()}
        )
        np.testing.assert_allclose(updates["res"], expected, rtol=2e-4, atol=1e-6)


def test_alpha_as_a_schedule_starts_and_ends_the_modulation():
    tx = scale_by_cgm(LABELS, alpha=lambda count: jnp.where((count >= 1) & (count < 3), 0.9, 0.0))
    params = {name: jnp.ones(2) for name in LABELS}
    state, seen = tx.init(params), []
    for _ in range(4):
        _, state = tx.update(params, state, confidence=S)
        seen.append(float(state.coefficients["res"]))
    assert seen == pytest.approx([1, M, M, 1])


def test_unknown_placement():
    with pytest.raises(ValueError, match="decoupled"):
        make("adamw", "beside")
