"""Two constants by the rank of the branches' confidence: the control for methods that modulate by degree.

If this control has the same gain, the gain comes from slowing one branch down, not from the amount. With the constants
exchanged it slows the weaker branch down, the opposite of CGM.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from dcdp_jax.optim.branches import Labels, as_float32, numbers_per_branch, ones, scale_by_coefficients


def rank_coefficients(
    confidence: Mapping[str, ArrayLike], strong: float | Float[Array, ""], weak: float | Float[Array, ""]
) -> dict[str, Float[Array, ""]]:
    """Computes c_m = strong where S_m is above the S of every other branch, else weak.

    Args:
      confidence: {branch: S} of two branches or more, see `contribution_ratios`. If several share the highest S, none
        is strong.
      strong: Coefficient of the branch with the highest confidence.
      weak: Coefficient of the others.

    Returns:
      {branch: () coefficient}.

    Raises:
      ValueError: Fewer than two branches, or an S that is not a scalar.

    Example:
      >>> found = rank_coefficients({"res": 60.0, "dense": 40.0}, strong=0.5, weak=1.0)
      >>> print({name: float(c) for name, c in found.items()})
      {'res': 0.5, 'dense': 1.0}
    """
    if len(confidence) < 2:
        raise ValueError(f"a rank compares two or more branches, got {sorted(confidence)}")
    S = numbers_per_branch(confidence)
    highest = {name: jnp.stack([S[other] for other in sorted(S) if other != name]).max() for name in S}
    return {name: jnp.where(S[name] > highest[name], strong, weak) for name in S}


class ScaleByRankState(NamedTuple):
    """State of `scale_by_rank`.

    Attributes:
      coefficients: {branch: () coefficient last applied}; 1 before the first update.
    """

    coefficients: dict[str, jax.Array]


def scale_by_rank(
    labels: Labels, strong: float | Float[Array, ""] = 0.5, weak: float | Float[Array, ""] = 1.0
) -> optax.GradientTransformationExtraArgs:
    """Scales the most confident branch's subtree by one constant and the others by another; see `rank_coefficients`.

    Args:
      labels: See `scale_by_cgm`.
      strong: Coefficient of the branch with the highest confidence. Below weak it acts as CGM does, above weak the
        opposite way.
      weak: Coefficient of the others.

    Returns:
      A transformation whose `update` requires the keyword `confidence`; its state's `coefficients` holds the
      coefficients last applied.

    Raises:
      ValueError: From `update`: `confidence` is missing, its branches are not those of the labels, or an S is not a
        scalar.

    Example:
      >>> params = {"res": jnp.ones(2), "dense": jnp.ones(2)}
      >>> tx = scale_by_rank({"res": "res", "dense": "dense"}, strong=1.0, weak=0.5)  # the opposite of CGM
      >>> updates, state = tx.update(params, tx.init(params), confidence={"res": 60.0, "dense": 40.0})
      >>> print({name: float(u[0]) for name, u in updates.items()})
      {'dense': 0.5, 'res': 1.0}
    """

    def begin(names: list[str]) -> ScaleByRankState:
        return ScaleByRankState(ones(names))

    def step(state: ScaleByRankState, S: dict[str, jax.Array]) -> ScaleByRankState:
        return ScaleByRankState(as_float32(rank_coefficients(S, strong, weak)))

    return scale_by_coefficients("scale_by_rank", labels, ["confidence"], begin, step)
