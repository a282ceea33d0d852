"""Reading what an optimiser does, whatever its chain: coefficients from its state, norms from its updates."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax


def coefficients_of(opt_state: Any) -> dict[str, jax.Array] | None:
    """The coefficients last applied, found anywhere in an optimiser state.

    Args:
      opt_state: of a chain that may hold `scale_by_cgm` or a relative, wrapped or not.

    Returns:
      {branch: ()}, or None where nothing modulates.

    Raises:
      KeyError: more than one transformation modulates.

    Example:
      >>> import jax.numpy as jnp
      >>> from dcdp_jax.optim import scale_by_cgm
      >>> tx = optax.chain(scale_by_cgm({"a": "a", "b": "b"}), optax.adam(1e-3))
      >>> state = tx.init({"a": jnp.ones(2), "b": jnp.ones(2)})
      >>> print({name: float(M) for name, M in coefficients_of(state).items()})
      {'a': 1.0, 'b': 1.0}
    """
    return optax.tree.get(opt_state, "coefficients")


def norms_of(tree: Mapping[str, Any]) -> dict[str, jax.Array]:
    """{top-level entry: Euclidean norm of its leaves}; of updates, how far each branch moves."""
    # One sum per entry: a sum per leaf is a thousand small programs more to compile.
    flat = {name: jnp.concatenate([x.ravel() for x in jax.tree.leaves(subtree)]) for name, subtree in tree.items()}
    return {name: jnp.sqrt(jnp.sum(x * x)) for name, x in flat.items()}
