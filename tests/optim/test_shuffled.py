"""CGM's coefficients, shuffled: the same distribution, without what they say about the branches."""

import itertools
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


@pytest.mark.parametrize("branches", [2, 3])
def test_mean_one_is_the_shuffled_divided_by_the_mean_of_what_is_kept(branches):
    """In NumPy, in float64: M from its formula, the mean over the last `memory` updates; the draws are the same."""
    steps, memory, alpha = 40, 7, 0.9
    S = np.random.default_rng(0).uniform(20, 90, (steps, branches))
    names = [f"b{i}" for i in range(branches)]
    confidences = {name: jnp.asarray(S[:, i], jnp.float32) for i, name in enumerate(names)}
    labels = {name: name for name in names} | {"fusion": None}

    def drawn(mean_one):
        tx = scale_by_shuffled_cgm(labels, alpha, memory=memory, key=3, mean_one=mean_one)
        gradients = {name: jnp.ones(()) for name in labels}

        def step(state, S):
            updates, state = tx.update(gradients, state, confidence=S)
            return state, updates

        _, updates = jax.lax.scan(step, tx.init(gradients), confidences)
        np.testing.assert_array_equal(updates["fusion"], 1)
        return np.stack([updates[name] for name in names], axis=1).astype(np.float64)

    R = S / ((S.sum(axis=1, keepdims=True) - S) / (branches - 1))
    M = np.where(R > 1, 1 - np.tanh(alpha * (R - 1)), 1.0)
    means = np.array([M[max(t + 1 - memory, 0) : t + 1].mean() for t in range(steps)])
    found = drawn(mean_one=True)
    np.testing.assert_allclose(found, drawn(mean_one=False) / means[:, None], rtol=1e-5)
    assert found.max() <= branches
    # The mean over all possible draws of an update is 1 for every branch, and `random`'s is well below.
    for t in range(steps):
        pool = M[max(t + 1 - memory, 0) : t + 1] / means[t]
        draws = [row[list(order)] for row in pool for order in itertools.permutations(range(branches))]
        np.testing.assert_allclose(np.mean(draws, axis=0), 1)
        assert min(np.abs(np.array(draws) - found[t]).max(axis=1)) < 1e-4  # and what was applied is one of them
    assert means.max() < 0.95


def test_mean_one_over_time():
    """The mean over 2000 updates is 1 for both branches, within 4 standard errors, where that of `random` is 0.72."""
    steps = 2000
    confidences = random_confidences(steps)
    for mean_one in (True, False):
        coefficients, _ = draw(scale_by_shuffled_cgm(LABELS, 0.9, memory=steps, mean_one=mean_one), confidences)
        for k in coefficients.values():
            error = float(k.std()) / np.sqrt(steps)
            assert (abs(float(k.mean()) - 1) < 4 * error) == mean_one


@pytest.mark.parametrize("mean_one", [False, True])
def test_a_resumed_state_goes_on_with_the_same_draws(mean_one):
    """The state as plain arrays, as a checkpoint holds it, in the middle of the ring's second turn."""
    confidences = random_confidences(40)
    make = lambda: scale_by_shuffled_cgm(LABELS, memory=12, key=5, mean_one=mean_one)  # noqa: E731
    gradients = {name: jnp.ones(()) for name in LABELS}

    def go_on(state, first, last):
        found = []
        for step in range(first, last):
            updates, state = update(gradients, state, confidence={name: S[step] for name, S in confidences.items()})
            found.append(float(updates["res"]))
        return found, state

    update = jax.jit(make().update)
    whole, _ = go_on(make().init(gradients), 0, 40)
    begun, state = go_on(make().init(gradients), 0, 20)
    restored = jax.tree.map(lambda x: jnp.asarray(np.array(x)), state)
    assert begun + go_on(restored, 20, 40)[0] == whole
    assert begun + go_on(make().init(gradients), 20, 40)[0] != whole


def test_no_memory_is_an_error():
    with pytest.raises(ValueError, match="memory=0"):
        scale_by_shuffled_cgm(LABELS, memory=0)
