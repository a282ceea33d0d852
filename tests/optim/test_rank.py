"""Two constants by rank."""

import jax.numpy as jnp
import numpy as np
import pytest

from dcdp_jax.optim import rank_coefficients, scale_by_cgm, scale_by_rank

LABELS = {"res": "res", "dense": "dense", "fusion": None}


def test_coefficients_against_numpy():
    rng = np.random.default_rng(0)
    for branches in (2, 3, 5):
        for _ in range(20):
            S = {f"b{i}": rng.uniform(0, 128) for i in range(branches)}
            strong, weak = rng.uniform(0, 2, 2)
            strongest = list(S)[int(np.argmax(list(S.values())))]
            found = rank_coefficients(S, strong, weak)
            for name in S:
                assert found[name] == np.float32(strong if name == strongest else weak)


def test_where_the_highest_is_shared_none_is_strong():
    found = rank_coefficients({"a": 2.0, "b": 2.0, "c": 1.0}, 0.5, 1.0)
    assert {name: float(c) for name, c in found.items()} == {"a": 1, "b": 1, "c": 1}


def test_one_branch_has_no_rank():
    with pytest.raises(ValueError, match="two or more"):
        rank_coefficients({"a": 2.0}, 0.5, 1.0)


def test_it_slows_the_branch_that_cgm_slows_and_exchanged_the_other():
    gradients, S = {name: jnp.ones(3) for name in LABELS}, {"res": 60.0, "dense": 40.0}
    slowed = {}
    for name, tx in {
        "cgm": scale_by_cgm(LABELS),
        "rank": scale_by_rank(LABELS, strong=0.5, weak=1.0),
        "exchanged": scale_by_rank(LABELS, strong=1.0, weak=0.5),
    }.items():
        updates, _ = tx.update(gradients, tx.init(gradients), confidence=S)
        slowed[name] = [branch for branch, u in updates.items() if float(u[0]) < 1]
    assert slowed == {"cgm": ["res"], "rank": ["res"], "exchanged": ["dense"]}
