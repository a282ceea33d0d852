"""Shapley values against their definition: what a branch adds, averaged over all orders."""

import itertools

import numpy as np
import pytest

from dcdp_jax.evaluate.shapley import coalitions, shapley_values


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_values_are_the_mean_over_all_orders(n):
    branches = [f"b{i}" for i in range(n)]
    rng = np.random.default_rng(n)
    worth = {members: float(rng.random()) for members in coalitions(branches)}
    assert len(worth) == 2**n
    added = {branch: [] for branch in branches}
    for order in itertools.permutations(branches):
        for i, branch in enumerate(order):
            added[branch].append(worth[frozenset(order[: i + 1])] - worth[frozenset(order[:i])])
    found = shapley_values(worth, branches)
    assert found == pytest.approx({branch: np.mean(values) for branch, values in added.items()})
    assert sum(found.values()) == pytest.approx(worth[frozenset(branches)] - worth[frozenset()])
