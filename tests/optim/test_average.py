"""Averages of what the updates read, against a sum of weights written out here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcdp_jax.optim import average_statistics, coefficients_of, scale_by_cgm, scale_by_rank, statistics_of
from tests.optim.chains import make_chain

LABELS = {"res": "res", "dense": "dense"}
PARAMS = {"res": jnp.ones(2), "dense": jnp.ones(2)}
S = np.random.default_rng(0).uniform(10, 60, (6, 2)).astype(np.float32)


def run(tx):
    state, update, found = tx.init(PARAMS), jax.jit(tx.update), []
    for res, dense in S:
        _, state = update(PARAMS, state, PARAMS, confidence={"res": res, "dense": dense})
        found.append(coefficients_of(state))
    return state, found


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9])
def test_the_average_is_the_weighted_mean_and_is_what_the_method_reads(decay):
    state, found = run(average_statistics(scale_by_cgm(LABELS), LABELS, decay=decay))
    for n in range(1, len(S) + 1):
        weights = (1 - decay) * decay ** (n - np.arange(1, n + 1, dtype=np.float64)) / (1 - decay**n)
        res, dense = weights @ S[:n].astype(np.float64)
        expected = {"res": res / dense, "dense": dense / res}
        for name, R in expected.items():
            assert float(found[n - 1][name]) == pytest.approx(1 - np.tanh(0.9 * max(R - 1, 0)), abs=2e-6)
    averages = statistics_of(state)["confidence"]
    np.testing.assert_allclose([averages["res"], averages["dense"]], [res, dense], rtol=1e-6)


def test_a_method_that_reads_gradients_has_no_average():
    with pytest.raises(ValueError, match="mmpareto reads gradients, which are not averaged"):
        chain("mmpareto", "before")


@pytest.mark.parametrize("placement", ["before", "after", "decoupled"])
def test_the_chain_averages_in_every_placement(placement):
    state, _ = run(chain("cgm", placement))
    expected, _ = run(average_statistics(scale_by_cgm(LABELS), LABELS, decay=0.5))
    assert statistics_of(state) == statistics_of(expected)


def chain(method, placement):
    return make_chain("adamw", 0.1, labels=LABELS, method=method, placement=placement, decay=0.5)


def test_a_decay_of_one_is_refused():
    with pytest.raises(ValueError, match=r"decay=1.0 is not in \[0, 1\)"):
        average_statistics(scale_by_cgm(LABELS), LABELS, decay=1.0)


def test_keywords_that_are_one_text_are_an_error():
    with pytest.raises(ValueError, match=r"keywords='confidence' is a text"):
        average_statistics(scale_by_rank({"a": "a", "b": "b"}), {"a": "a", "b": "b"}, "confidence")
