"""Gradient weights of ARL, asymmetric representation learning: the branch with the smaller variance learns faster.

Wei et al. 2025, Improving multimodal learning via imbalanced learning. https://arxiv.org/abs/2507.10203, as
https://github.com/shicaiwei123/ICCV2025-ARL computes it (main_arl_variance.py).
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from dcdp_jax.optim.branches import Labels, as_float32, numbers_per_branch, ones, scale_by_coefficients


def arl_coefficients(
    entropy: Mapping[str, ArrayLike],
    magnitude: Mapping[str, ArrayLike],
    temperature: float | Float[Array, ""] = 8.0,
    least_share: float | Float[Array, ""] = 0.3,
) -> dict[str, Float[Array, ""]]:
    """Computes 1 + softmax_m(temperature d_m q_m).

    q_m is the inverse of the branch's share in the sum of the entropies, scaled so that the q sum to 1. The entropy
    is a proxy for the branch's variance, and each share is at least least_share. d_m is the mean of the *other*
    branches' shares in the sum of the magnitudes, a proxy for how much the fusion depends on each branch. A branch that
    is certain, and on which the fusion does not depend yet, learns faster. For two branches this is the released code.
    For more the publication has no rule; the mean over the others follows `contribution_ratios`.

    Args:
      entropy: {branch: mean entropy of its predictions}, see `prediction_entropy`. Two branches or more.
      magnitude: {branch: mean over the windows of the sum of its absolute logits}, see `logit_magnitude`.
      temperature: T of the source. It is a factor, so 0 gives every branch the same weight.
      least_share: Smallest share of a branch in the sum of the entropies.

    Returns:
      {branch: () coefficient}, each in [1, 2]; they sum to the number of branches + 1.

    Raises:
      ValueError: Fewer than two branches, branches that differ, or a value that is not a scalar.

    Example:
      >>> entropy, magnitude = {"res": 0.6, "dense": 1.4}, {"res": 3.0, "dense": 1.0}
      >>> print({name: round(float(c), 3) for name, c in arl_coefficients(entropy, magnitude).items()})
      {'res': 1.401, 'dense': 1.599}
    """
    if len(entropy) < 2 or sorted(entropy) != sorted(magnitude):
        raise ValueError(f"ARL compares two or more branches, got {sorted(entropy)} and {sorted(magnitude)}")
    H, size = numbers_per_branch(entropy, "entropy"), numbers_per_branch(magnitude, "magnitude")
    names = sorted(H)
    q = 1 / jnp.maximum(shares(jnp.stack([H[name] for name in names])), least_share)
    dependence = shares(jnp.stack([size[name] for name in names]))
    of_others = (1 - dependence) / (len(names) - 1)
    weights = 1 + jax.nn.softmax(temperature * of_others * q / q.sum())
    return {name: weights[names.index(name)] for name in H}


def shares(x: jax.Array) -> jax.Array:
    """Divides non-negative numbers by their sum; if all are 0, the shares are equal."""
    total = x.sum()
    return jnp.where(total > 0, x / jnp.where(total > 0, total, 1), 1 / x.size)


class ScaleByARLState(NamedTuple):
    """State of `scale_by_arl`.

    Attributes:
      coefficients: {branch: () coefficient last applied}; 1 before the first update.
    """

    coefficients: dict[str, jax.Array]


def scale_by_arl(
    labels: Labels,
    temperature: float | Float[Array, ""] = 8.0,
    least_share: float | Float[Array, ""] = 0.3,
) -> optax.GradientTransformationExtraArgs:
    """Scales each branch's subtree by ARL's weight, larger for smaller variance; see `arl_coefficients`.

    The weight gamma of the branches' own losses (1 in this package) is not included, because it is part of the loss.
    The source scales the gradient where it enters an encoder, which is the same as scaling the gradients of the
    encoder's parameters. The source's classifiers are slices of the fusion layer; here any classifiers give the
    logits. The source starts in the seventh epoch, which `optax.transforms.conditionally_transform` can do.

    Args:
      labels: See `scale_by_cgm`; the published method modulates the encoders.
      temperature: See `arl_coefficients`.
      least_share: See `arl_coefficients`.

    Returns:
      A transformation whose `update` requires the keywords `entropy` and `magnitude`, each {branch: ()} over the
      global batch; its state's `coefficients` holds the coefficients last applied.

    Raises:
      ValueError: From `update`: a keyword is missing, its branches are not those of the labels, or a value is not a
        scalar.

    Example:
      >>> params = {"res": jnp.ones(2), "dense": jnp.ones(2)}
      >>> tx = scale_by_arl({"res": "res", "dense": "dense"})
      >>> statistics = {"entropy": {"res": 0.6, "dense": 1.4}, "magnitude": {"res": 3.0, "dense": 1.0}}
      >>> updates, state = tx.update(params, tx.init(params), **statistics)
      >>> print({name: round(float(u[0]), 3) for name, u in updates.items()})
      {'dense': 1.599, 'res': 1.401}
    """

    def step(state: ScaleByARLState, H: dict[str, jax.Array], size: dict[str, jax.Array]) -> ScaleByARLState:
        return ScaleByARLState(as_float32(arl_coefficients(H, size, temperature, least_share)))

    keywords = ["entropy", "magnitude"]
    return scale_by_coefficients("scale_by_arl", labels, keywords, lambda names: ScaleByARLState(ones(names)), step)
