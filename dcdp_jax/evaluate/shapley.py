"""Shapley values: the contribution of each branch to a score."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import comb


def coalitions(branches: Sequence[str]) -> Iterator[frozenset[str]]:
    """Yields every subset of the branches, including the empty set and the set of all."""
    for size in range(len(branches) + 1):
        yield from map(frozenset, combinations(branches, size))


def shapley_values(worth: Mapping[frozenset[str], float], branches: Sequence[str]) -> dict[str, float]:
    """Computes the Shapley value of each branch.

    phi_m = sum over the sets C without m of |C|! (n - |C| - 1)! / n! (v(C + m) - v(C)): what m adds, averaged over the
    orders in which the n branches may join. The values sum to v(all) - v(none) (Shapley 1953). The worth v is {set of
    branches that are present: score}, with an entry for each of the `coalitions`.

    Example:
      >>> v = {(): 0.2, ("a",): 0.8, ("b",): 0.4, ("a", "b"): 1.0}
      >>> found = shapley_values({frozenset(names): score for names, score in v.items()}, ("a", "b"))
      >>> print({name: round(value, 3) for name, value in found.items()})
      {'a': 0.6, 'b': 0.2}
    """
    n = len(branches)
    return {
        branch: sum(
            1 / (n * comb(n - 1, len(others))) * (worth[others | {branch}] - worth[others])
            for others in coalitions([name for name in branches if name != branch])
        )
        for branch in branches
    }
