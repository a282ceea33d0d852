"""The magnitude of CGGM, classifier-guided gradient modulation.

Guo et al. 2024, Classifier-guided gradient modulation for enhanced multimodal learning.
https://arxiv.org/abs/2411.01409, as https://github.com/zrguo/CGGM computes it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from dcdp_jax.optim.branches import as_float32, branch_names, checked_branches, label_tree, scale_branches
from dcdp_jax.optim.cgm import Labels


def cggm_coefficients(
    improvement: Mapping[str, Float[Array, ""]], rho: float | Float[Array, ""], eps: float | Float[Array, ""] = 1e-8
) -> dict[str, Float[Array, ""]]:
    """The share that the other branches have in the improvement of all, times rho.

    Args:
      improvement: {branch: gain in accuracy of its own classifier since the last update}.
      rho: scale of all coefficients.
      eps: added to the improvement of all.

    Returns:
      {branch: coefficient}. Nothing bounds it: where some branches gain and others lose it may be negative or large,
      and where they do so equally it is eps that it is divided by.

    Example:
      >>> found = cggm_coefficients({"res": jnp.float32(0.03), "dense": jnp.float32(0.01)}, rho=1.0)
      >>> print({name: round(float(c), 3) for name, c in found.items()})
      {'res': 0.25, 'dense': 0.75}
    """
    total = sum(improvement[name] for name in sorted(improvement)) + eps
    return {name: rho * (total - gain) / total for name, gain in improvement.items()}


class CGGMState(NamedTuple):
    """State of `scale_by_cggm`.

    Attributes:
      accuracy: {branch: () accuracy at the last update}; 0 before the first.
      coefficients: {branch: () coefficient last applied}; 1 before the first update.
    """

    accuracy: dict[str, jax.Array]
    coefficients: dict[str, jax.Array]


def scale_by_cggm(
    labels: Labels, rho: float | Float[Array, ""] = 1.3, eps: float | Float[Array, ""] = 1e-8
) -> optax.GradientTransformationExtraArgs:
    """Scales each branch's subtree by CGGM's coefficient: the faster its accuracy grows, the less.

    This is the magnitude of the published method. Its other half, the direction, is a term of the loss and is not
    offered: see docs/composing.md.

    Args:
      labels: see `scale_by_cgm`; the published method modulates the encoders.
      rho: see `cggm_coefficients`.
      eps: see `cggm_coefficients`.

    Returns:
      A transformation whose `update` requires the keyword `accuracy`, {branch: () accuracy of the branch's own
      classifier on the global batch}; its state's `coefficients` holds the coefficients last applied.

    Raises:
      ValueError: from `update`, where `accuracy` is missing or its branches are not those of the labels.

    Example:
      >>> params = {"res": jnp.ones(2), "dense": jnp.ones(2)}
      >>> tx = scale_by_cggm({"res": "res", "dense": "dense"}, rho=1.0)
      >>> accuracy = {"res": jnp.float32(0.3), "dense": jnp.float32(0.1)}
      >>> updates, state = tx.update(params, tx.init(params), accuracy=accuracy)
      >>> print({name: round(float(u[0]), 3) for name, u in updates.items()})
      {'dense': 0.75, 'res': 0.25}
    """

    def init(params: optax.Params) -> CGGMState:
        names = branch_names(label_tree(labels, params))
        return CGGMState(
            {name: jnp.zeros((), jnp.float32) for name in names}, {name: jnp.ones((), jnp.float32) for name in names}
        )

    def update(
        updates: optax.Updates,
        state: CGGMState,
        params: optax.Params | None = None,
        *,
        accuracy: Mapping[str, jax.Array] | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, CGGMState]:
        del params, extra
        current = as_float32(checked_branches("scale_by_cggm", "accuracy", accuracy, state.coefficients))
        improvement = {name: current[name] - state.accuracy[name] for name in current}
        coefficients = as_float32(cggm_coefficients(improvement, rho, eps))
        return scale_branches(label_tree(labels, updates), updates, coefficients), CGGMState(current, coefficients)

    return optax.GradientTransformationExtraArgs(init, update)
