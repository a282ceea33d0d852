"""Reads what any optimiser chain did: the coefficients in its state and the norms of its updates."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dcdp_jax.optim.branches import single_or_better


def coefficients_of(opt_state: Any) -> dict[str, jax.Array] | None:
    """Finds the coefficients last applied in an optimiser state.

    Args:
      opt_state: The state of a chain, which may contain `scale_by_cgm` or a related transformation at any depth.

    Returns:
      {branch: ()}, or None if no transformation modulates.

    Raises:
      KeyError: More than one transformation modulates.

    Example:
      >>> import jax.numpy as jnp
      >>> from dcdp_jax.optim import scale_by_cgm
      >>> tx = optax.chain(scale_by_cgm({"a": "a", "b": "b"}), optax.adam(1e-3))
      >>> state = tx.init({"a": jnp.ones(2), "b": jnp.ones(2)})
      >>> print({name: float(M) for name, M in coefficients_of(state).items()})
      {'a': 1.0, 'b': 1.0}
    """
    return optax.tree.get(opt_state, "coefficients")


def statistics_of(opt_state: Any) -> dict[str, dict[str, jax.Array]] | None:
    """Finds the averages that `average_statistics` passed on last.

    Args:
      opt_state: The state of a chain.

    Returns:
      {keyword: {branch: ()}}, or None if nothing is averaged.

    Raises:
      KeyError: More than one transformation averages.
    """
    return optax.tree.get(opt_state, "statistics")


def with_key(opt_state: Any, key: jax.Array) -> Any:
    """Replaces the random key of an optimiser state, so that runs with different seeds draw different numbers.

    Args:
      opt_state: The state of a chain. It is returned unchanged if no transformation in it has a random key, as
        `scale_by_shuffled_cgm` has.
      key: Random key.

    Returns:
      The state.

    Raises:
      KeyError: More than one transformation has a key.

    Example:
      >>> from dcdp_jax.optim import scale_by_ogm
      >>> state = scale_by_ogm({"a": "a"}, key=0).init({"a": jnp.ones(2)})
      >>> print(with_key(state, jax.random.key(7)).rng_key)
      [0 7]
    """
    if optax.tree.get(opt_state, "rng_key") is None:
        return opt_state
    return optax.tree.set(opt_state, rng_key=jax.random.key_data(key))


def norms_of(tree: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Computes the Euclidean norm of each top-level entry. For updates, it is how far each branch moves.

    Squares are summed in single precision or better. The norm of an entry without arrays is 0.

    Args:
      tree: A mapping of pytrees, such as the gradients or updates of a model with an entry per branch.

    Returns:
      {entry: ()}.

    Example:
      >>> print({name: float(norm) for name, norm in norms_of({"res": [jnp.array([3.0]), jnp.array([4.0])]}).items()})
      {'res': 5.0}
    """
    # One sum per entry: a sum per leaf would compile a thousand more small programs.
    flat = {
        name: jax.lax.platform_dependent(jax.tree.leaves(subtree), cuda=as_vector_on_gpu, default=as_vector)
        for name, subtree in tree.items()
    }
    return {name: jnp.sqrt(jnp.sum(x * x)) for name, x in flat.items()}


def as_vector(arrays: list[jax.Array]) -> jax.Array:
    """Returns the numbers of all arrays as one vector."""
    sizes = (jnp.abs(x) if jnp.iscomplexobj(x) else x for x in arrays)
    return jnp.concatenate([single_or_better(x).ravel() for x in sizes] or [jnp.zeros(0)])


def as_vector_on_gpu(arrays: list[jax.Array]) -> jax.Array:
    """Returns the same numbers in the order in which XLA keeps kernels (k, c_in, c_out): output channels come first.

    In this order no kernel has to be transposed. Without the barrier XLA may recompute arrays from the parameters, and
    would then keep a copy of the parameters while they are updated.
    """
    arrays = jax.lax.optimization_barrier(arrays)
    return as_vector([jnp.moveaxis(x, -1, 0) if x.ndim == 3 and x.shape[0] > 1 else x for x in arrays])
