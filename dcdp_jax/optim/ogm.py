"""OGM and OGM-GE, on-the-fly gradient modulation without and with generalization enhancement, CGM's predecessors.

Peng et al. 2022, Balanced multimodal learning via on-the-fly gradient modulation. https://arxiv.org/abs/2203.15332
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from dcdp_jax.optim.branches import (
    Labels,
    as_float32,
    as_key_data,
    branch_names,
    checked_branches,
    is_none,
    label_tree,
    not_negative,
    ones,
    scale_branches,
)
from dcdp_jax.optim.cgm import contribution_ratios


def ogm_coefficients(
    confidence: Mapping[str, ArrayLike], alpha: float | Float[Array, ""], eps: float | Float[Array, ""] = 1e-8
) -> dict[str, Float[Array, ""]]:
    """Computes 1 - tanh(alpha R_m) if R_m > 1, else 1. Unlike CGM's M, it is discontinuous at R = 1.

    Arguments, range and errors are those of `modulation_coefficients`.

    Example:
      >>> found = ogm_coefficients({"res": jnp.float32(60.0), "dense": jnp.float32(40.0)}, alpha=0.1)
      >>> print({name: round(float(c), 3) for name, c in found.items()})
      {'res': 0.851, 'dense': 1.0}
    """
    not_negative("alpha", alpha)

    def coefficient(R: jax.Array) -> jax.Array:
        # 1 - tanh(x) without cancellation, as in `modulation_coefficients`.
        below_one = jnp.maximum(2 / (1 + jnp.exp(2 * alpha * R)), jnp.finfo(R.dtype).tiny)
        return jnp.where(R > 1, below_one, 1)

    return {name: coefficient(R) for name, R in contribution_ratios(confidence, eps).items()}


class ScaleByOGMState(NamedTuple):
    """State of `scale_by_ogm`.

    Attributes:
      rng_key: Random key of the next update's noise, as raw data, which a checkpoint can hold.
      coefficients: {branch: () coefficient last applied}; 1 before the first update.
    """

    rng_key: jax.Array
    coefficients: dict[str, jax.Array]


def scale_by_ogm(
    labels: Labels,
    alpha: float | Float[Array, ""] = 0.1,
    eps: float | Float[Array, ""] = 1e-8,
    generalization_enhancement: bool = False,
    key: ArrayLike = 0,
) -> optax.GradientTransformationExtraArgs:
    """Scales each branch's subtree by its OGM coefficient; OGM-GE also adds Gaussian noise.

    Args:
      labels: See `scale_by_cgm`.
      alpha: See `ogm_coefficients`.
      eps: See `contribution_ratios`.
      generalization_enhancement: Whether to add, to every array of a branch after scaling, noise with zero mean and
        the standard deviation of the unscaled gradient array.
      key: Random key of the noise, or an integer seed.

    Returns:
      A transformation whose `update` requires the keyword `confidence`; its state's `coefficients` holds the
      coefficients last applied.

    Raises:
      ValueError: As in `scale_by_cgm`.

    Example:
      >>> params = {"res": jnp.ones(2), "dense": jnp.ones(2)}
      >>> tx = scale_by_ogm({"res": "res", "dense": "dense"}, alpha=0.1)
      >>> S = {"res": jnp.float32(60.0), "dense": jnp.float32(40.0)}
      >>> updates, state = tx.update(params, tx.init(params), confidence=S)
      >>> print({name: round(float(u[0]), 3) for name, u in updates.items()})
      {'dense': 1.0, 'res': 0.851}
    """
    not_negative("alpha", alpha)

    def init(params: optax.Params) -> ScaleByOGMState:
        return ScaleByOGMState(as_key_data(key), ones(branch_names(label_tree(labels, params))))

    def update(
        updates: optax.Updates,
        state: ScaleByOGMState,
        params: optax.Params | None = None,
        *,
        confidence: Mapping[str, ArrayLike] | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, ScaleByOGMState]:
        del params, extra
        S = checked_branches("scale_by_ogm", "confidence", confidence, state.coefficients)
        coefficients = as_float32(ogm_coefficients(S, alpha, eps))
        tree = label_tree(labels, updates)
        scaled = scale_branches(tree, updates, coefficients)
        if not generalization_enhancement:
            return scaled, ScaleByOGMState(state.rng_key, coefficients)
        now, following = jax.random.split(jax.random.wrap_key_data(state.rng_key))
        scaled = jax.tree.map(jnp.add, scaled, gradient_noise(tree, updates, now))
        return scaled, ScaleByOGMState(jax.random.key_data(following), coefficients)

    return optax.GradientTransformationExtraArgs(init, update)


def gradient_noise(labels: Any, updates: Any, key: jax.Array) -> Any:
    """Draws Gaussian noise with the standard deviation of each array of a branch; other parameters get zeros."""
    count = len(jax.tree.leaves(updates))
    keys = jax.tree.unflatten(jax.tree.structure(updates), list(jax.random.split(key, count)))

    def noise(label: str | None, subtree: Any, subkeys: Any) -> Any:
        if label is None:
            return jax.tree.map(jnp.zeros_like, subtree)
        return jax.tree.map(lambda u, k: jnp.std(u) * jax.random.normal(k, u.shape, u.dtype), subtree, subkeys)

    return jax.tree.map(noise, labels, updates, keys, is_leaf=is_none)
