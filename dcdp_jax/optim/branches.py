"""Which leaves belong to which branch: label trees, as `optax.partition` takes them."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp


def is_none(x: Any) -> bool:
    """None is a label here, «leave alone», not an empty tree."""
    return x is None


def label_tree(labels: Any, tree: Any) -> Any:
    """The labels of a tree: labels themselves, or what they make of the tree where they are callable."""
    return labels(tree) if callable(labels) else labels


def branch_names(labels: Any) -> list[str]:
    """The branch names in a label tree, sorted and once each."""
    return sorted({label for label in jax.tree.leaves(labels, is_leaf=is_none) if label is not None})


def scale_branches(labels: Any, updates: Any, coefficients: Mapping[str, jax.Array]) -> Any:
    """Multiplies each branch's subtree by its coefficient, keeping dtypes.

    Args:
      labels: a pytree prefix of updates with a branch name, or None for «leave alone».
      updates: any pytree.
      coefficients: {branch: ()}.

    Returns:
      updates, scaled.
    """

    def scale(label: str | None, subtree: Any) -> Any:
        if label is None:
            return subtree
        return jax.tree.map(lambda u: u * coefficients[label].astype(u.dtype), subtree)

    return jax.tree.map(scale, labels, updates, is_leaf=is_none)


def single_or_better(x: jax.Array) -> jax.Array:
    """An array in half precision as float32; any other as it is."""
    return x.astype(jnp.float32) if jnp.finfo(x.dtype).bits < 32 else x


def as_float32(coefficients: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Coefficients as an optimiser state keeps them, whatever the precision of the confidences."""
    return {name: M.astype(jnp.float32) for name, M in coefficients.items()}


def checked_branches(
    name: str, keyword: str, given: Mapping[str, jax.Array] | None, expected: Mapping[str, Any]
) -> Mapping[str, jax.Array]:
    """A keyword of an update that has a number per branch, such as `confidence`.

    Raises:
      ValueError: it was not given, or its branches are not those expected.
    """
    if given is None:
        raise ValueError(f"{name}: update() needs the keyword {keyword}={{branch: ()}}")
    if sorted(given) != sorted(expected):
        raise ValueError(f"{name}: {keyword} has branches {sorted(given)}, the labels {sorted(expected)}")
    return given
