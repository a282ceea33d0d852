"""CGM's coefficients, shuffled: the same distribution, without what they say about the branches."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcdp_jax.optim import modulation_coefficients, scale_by_shuffled_cgm

LABELS = {"res": "res", "dense": "dense", "fusion": None}


def draw(tx, confidences):
    """The coefficients of every update, and the updates of a gradient of ones."""
    gradients = {name: jnp.ones(()) for name in LABELS}

    def step(state, S):
        updates, state = tx.update(gradients, state, confidence=S)
        return state, (state.coefficients, updates)

    _, found = jax.lax.scan(step, tx.init(gradients), confidences)
    return found


def random_confidences(steps):
    rng = np.random.default_rng(0)
    return {
        "res": jnp.asarray(rng.uniform(40, 90, steps), jnp.float32),
        "dense": jnp.asarray(rng.uniform(20, 60, steps), jnp.float32),
    }


def test_the_coefficients_are_those_of_cgm_at_steps_so_far():
    """Every pair dealt is the pair of one of the last `memory` updates, in one of the two orders."""
    steps, memory = 60, 7
    confidences = random_confidences(steps)
    coefficients, updates = draw(scale_by_shuffled_cgm(LABELS, 0.9, memory=memory), confidences)
    M = jax.vmap(lambda S: modulation_coefficients(S, 0.9))(confidences)
    ages, orders = Counter(), Counter()
    for step in range(steps):
        dealt = float(coefficients["res"][step]), float(coefficients["dense"][step])
        pairs = {
            (float(M[a][past]), float(M[b][past])): (step - past, a)
            for past in range(max(step - memory + 1, 0), step + 1)
            for a, b in (("res", "dense"), ("dense", "res"))
        }
        match = [found for pair, found in pairs.items() if np.allclose(pair, dealt, rtol=1e-5)]
        assert match, f"update {step}: {dealt} was dealt and never computed"
        ages[match[0][0]] += 1
        orders[match[0][1]] += 1
        assert float(updates["res"][step]) == dealt[0]
        assert float(updates["fusion"][step]) == 1
    assert set(ages) == set(range(memory))
    assert min(orders.values()) > 15


def test_the_distribution_is_cgms_and_both_branches_have_it():
    """Two-sample tolerance: 3 standard errors of the mean of 2000 draws."""
    steps = 2000
    confidences = random_confidences(steps)
    coefficients, _ = draw(scale_by_shuffled_cgm(LABELS, 0.9, memory=steps), confidences)
    M = jax.vmap(lambda S: modulation_coefficients(S, 0.9))(confidences)
    pooled = np.concatenate([M["res"], M["dense"]])
    bound = 3 * pooled.std() * np.sqrt(2 / steps)
    assert abs(float(M["res"].mean()) - pooled.mean()) > bound  # CGM's own are apart
    for name in ("res", "dense"):
        assert abs(float(coefficients[name].mean()) - pooled.mean()) < bound
        assert float(coefficients[name].std()) == pytest.approx(float(pooled.std()), rel=0.1)


def test_the_key_decides():
    confidences = random_confidences(40)
    one, same, other = (
        draw(scale_by_shuffled_cgm(LABELS, key=key), confidences)[0]["res"] for key in (1, jax.random.key(1), 2)
    )
    np.testing.assert_array_equal(one, same)
    assert float(jnp.abs(one - other).max()) > 0.1


def test_no_memory_is_an_error():
    with pytest.raises(ValueError, match="memory=0"):
        scale_by_shuffled_cgm(LABELS, memory=0)
