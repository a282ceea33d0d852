"""The magnitude part of CGGM, classifier-guided gradient modulation.

Guo et al. 2024, Classifier-guided gradient modulation for enhanced multimodal learning.
https://arxiv.org/abs/2411.01409, as https://github.com/zrguo/CGGM computes it.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from dcdp_jax.optim.branches import Labels, as_float32, numbers_per_branch, ones, scale_by_coefficients


def cggm_coefficients(
    improvement: Mapping[str, ArrayLike], rho: float | Float[Array, ""], eps: float | Float[Array, ""] = 1e-8
) -> dict[str, Float[Array, ""]]:
    """Computes rho times the share of the other branches in the total improvement.

    Args:
      improvement: {branch: gain in accuracy of its own classifier since the last update}.
      rho: Scale of all coefficients.
      eps: Added to the total improvement.

    Returns:
      {branch: () coefficient}, not bounded. If some branches gain and others lose, a coefficient may be negative or
      large; if gains and losses are equal, the divisor is eps.

    Raises:
      ValueError: Fewer than two branches, or an improvement that is not a scalar.

    Example:
      >>> found = cggm_coefficients({"res": jnp.float32(0.03), "dense": jnp.float32(0.01)}, rho=1.0)
      >>> print({name: round(float(c), 3) for name, c in found.items()})
      {'res': 0.25, 'dense': 0.75}
    """
    if len(improvement) < 2:
        raise ValueError(f"CGGM compares two or more branches, got {sorted(improvement)}")
    gains = numbers_per_branch(improvement, "improvement")
    total = sum(gains[name] for name in sorted(gains)) + eps
    return {name: rho * (total - gain) / total for name, gain in gains.items()}


class ScaleByCGGMState(NamedTuple):
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
    """Scales each branch's subtree by CGGM's coefficient, which is smaller the faster the branch's accuracy grows.

    This is the magnitude part of the published method. The direction part is a term of the loss and is not
    implemented; docs/composing.md says why.

    Args:
      labels: See `scale_by_cgm`; the published method modulates the encoders.
      rho: See `cggm_coefficients`.
      eps: See `cggm_coefficients`.

    Returns:
      A transformation whose `update` requires the keyword `accuracy`, {branch: () accuracy of the branch's own
      classifier on the global batch}; its state's `coefficients` holds the coefficients last applied.

    Raises:
      ValueError: From `update`: `accuracy` is missing, its branches are not those of the labels, or a value is not a
        scalar.

    Example:
      >>> params = {"res": jnp.ones(2), "dense": jnp.ones(2)}
      >>> tx = scale_by_cggm({"res": "res", "dense": "dense"}, rho=1.0)
      >>> accuracy = {"res": jnp.float32(0.3), "dense": jnp.float32(0.1)}
      >>> updates, state = tx.update(params, tx.init(params), accuracy=accuracy)
      >>> print({name: round(float(u[0]), 3) for name, u in updates.items()})
      {'dense': 0.75, 'res': 0.25}
    """

    def begin(names: list[str]) -> ScaleByCGGMState:
        return ScaleByCGGMState({name: jnp.zeros((), jnp.float32) for name in names}, ones(names))

    def step(state: ScaleByCGGMState, accuracy: dict[str, jax.Array]) -> ScaleByCGGMState:
        current = as_float32(accuracy)
        improvement = {name: current[name] - state.accuracy[name] for name in current}
        return ScaleByCGGMState(current, as_float32(cggm_coefficients(improvement, rho, eps)))

    return scale_by_coefficients("scale_by_cggm", labels, ["accuracy"], begin, step)
