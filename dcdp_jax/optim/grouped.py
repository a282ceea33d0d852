"""Updating all vectors among the parameters as one: a few large kernels instead of hundreds of small ones."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

Grouped = dict[str, Any]


def group_vectors(tree: Any) -> Grouped:
    """Joins all one-dimensional leaves of a tree.

    Args:
      tree: arrays.

    Returns:
      `vectors`: {dtype: the one-dimensional leaves end to end, in their order}; `others`: all other leaves in theirs.

    Example:
      >>> group_vectors({"bias": jnp.ones(2), "kernel": jnp.ones((2, 3)), "scale": jnp.ones(3)})["vectors"]
      {'float32': Array([1., 1., 1., 1., 1.], dtype=float32)}
    """
    leaves = jax.tree.leaves(tree)
    vectors: dict[str, list[Any]] = {}
    for leaf in leaves:
        if leaf.ndim == 1:
            vectors.setdefault(str(leaf.dtype), []).append(leaf)
    joined = {dtype: jnp.concatenate(found) for dtype, found in vectors.items()}
    return {"vectors": joined, "others": [leaf for leaf in leaves if leaf.ndim != 1]}


def separate_vectors(grouped: Grouped, like: Any) -> Any:
    """Reverses `group_vectors`.

    Args:
      grouped: what it returned.
      like: a tree with the structure, shapes and dtypes of the one that it was given.

    Returns:
      Arrays in that structure.
    """
    others, places, leaves = iter(grouped["others"]), dict.fromkeys(grouped["vectors"], 0), []
    for leaf in jax.tree.leaves(like):
        if leaf.ndim != 1:
            leaves.append(next(others))
            continue
        dtype = str(leaf.dtype)
        first = places[dtype]
        places[dtype] = first + leaf.shape[0]
        leaves.append(grouped["vectors"][dtype][first : places[dtype]])
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def map_like(params: Any, function: Callable[[Any], Any], tree: Any) -> Any:
    """Applies a function to all subtrees that have the structure and shapes of the parameters, such as moments.

    Args:
      params: arrays.
      function: of a subtree.
      tree: such as the state of a transformation.

    Returns:
      The tree with what the function returned in place of those subtrees.
    """
    shapes = shapes_of(params)

    def is_like(subtree: Any) -> bool:
        return shapes_of(subtree) == shapes

    return jax.tree.map(lambda x: function(x) if is_like(x) else x, tree, is_leaf=is_like)


def shapes_of(tree: Any) -> Any:
    """Returns the structure of a tree and the shapes of its leaves."""
    return jax.tree.structure(tree), [getattr(leaf, "shape", None) for leaf in jax.tree.leaves(tree)]


def update_vectors_together(inner: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """Applies an elementwise transformation to all one-dimensional leaves as one array.

    A network has hundreds of scales and biases, and on a GPU the launch of a kernel for each costs more than its work.
    The state has the layout of the inner transformation's, so that checkpoints and `optax.tree.map_params` see no
    difference.

    Args:
      inner: treats every element alike, whatever array it lies in, such as `optax.scale_by_adam`. Its `update` is
        called with the trees of `group_vectors`.

    Returns:
      A transformation with the results of the inner one, whose `update` requires the parameters.

    Raises:
      ValueError: from `update`, where `params` is missing.

    Example:
      >>> params = {"bias": jnp.ones(2), "kernel": jnp.ones((2, 3)), "scale": jnp.ones(3)}
      >>> tx = update_vectors_together(optax.scale_by_adam())
      >>> updates, state = tx.update(params, tx.init(params), params)
      >>> print({name: u.shape for name, u in updates.items()})
      {'bias': (2,), 'kernel': (2, 3), 'scale': (3,)}
    """
    inner = optax.with_extra_args_support(inner)

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None, **extra: Any
    ) -> tuple[optax.Updates, optax.OptState]:
        if params is None:
            raise ValueError("update_vectors_together: update() needs params")
        grouped = group_vectors(params)
        if not grouped["vectors"]:
            return inner.update(updates, state, params, **extra)
        state = map_like(params, group_vectors, state)
        found, following = inner.update(group_vectors(updates), state, grouped, **extra)
        following = map_like(grouped, lambda moments: separate_vectors(moments, params), following)
        return separate_vectors(found, updates), following

    return optax.GradientTransformationExtraArgs(inner.init, update)
