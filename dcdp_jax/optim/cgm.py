"""CGM, confidence-driven gradient modulation (section 3.3 of the paper), as an optax transformation."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from dcdp_jax.optim.branches import Labels, as_float32, not_negative, numbers_per_branch, ones, scale_by_coefficients


def against_the_others(
    confidence: Mapping[str, ArrayLike], needed_by: str = "a contribution ratio"
) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Pairs each branch's confidence with the mean of the other branches' confidences.

    Args:
      confidence: {branch: S}; two branches or more.
      needed_by: What compares the branches, for the error message.

    Returns:
      {branch: (S, mean of the others' S)}, in float32 or higher precision.

    Raises:
      ValueError: Fewer than two branches, or a value that is not a scalar.
    """
    if len(confidence) < 2:
        raise ValueError(f"{needed_by} compares two or more branches, got {sorted(confidence)}")
    S = numbers_per_branch(confidence)
    pairs = {}
    for name in S:
        others = [S[other] for other in sorted(S) if other != name]
        pairs[name] = S[name], sum(others[1:], start=others[0]) / len(others)
    return pairs


def contribution_ratios(
    confidence: Mapping[str, ArrayLike], eps: float | Float[Array, ""] = 1e-8
) -> dict[str, Float[Array, ""]]:
    """Computes R_m = S_m / (mean of the other branches' S + eps). For two branches this is the paper's ratio.

    Args:
      confidence: {branch: S} with two branches or more. S is the sum over the global batch of the softmax probability
        that the branch's own classifier gives to the true class; see `true_class_confidence`.
      eps: Keeps the ratio finite if the others' confidence is 0.

    Returns:
      {branch: () R}, in float32 or higher precision.

    Raises:
      ValueError: Fewer than two branches, or an S that is not a scalar.

    Example:
      >>> print({name: round(float(R), 3) for name, R in contribution_ratios({"res": 60.0, "dense": 40.0}).items()})
      {'res': 1.5, 'dense': 0.667}
    """
    return {name: S / (others + eps) for name, (S, others) in against_the_others(confidence).items()}


def modulation_coefficients(
    confidence: Mapping[str, ArrayLike], alpha: float | Float[Array, ""], eps: float | Float[Array, ""] = 1e-8
) -> dict[str, Float[Array, ""]]:
    """Computes M_m = 1 - tanh(alpha relu(R_m - 1)).

    M is 1 for a branch that does not dominate, and smaller the more the branch dominates.

    Args:
      confidence: {branch: S}, see `contribution_ratios`.
      alpha: Strength of the modulation, 0 or more; 0 switches it off.
      eps: See `contribution_ratios`.

    Returns:
      {branch: () M}, each in (0, 1]. If 1 - tanh would round to 0, M is the smallest normal number, so a branch is
      slowed down but never frozen.

    Raises:
      ValueError: Fewer than two branches, an S that is not a scalar, or a negative alpha.

    Example:
      >>> M = modulation_coefficients({"res": jnp.float32(60.0), "dense": jnp.float32(40.0)}, alpha=0.9)
      >>> print({name: round(float(m), 3) for name, m in M.items()})
      {'res': 0.578, 'dense': 1.0}
    """
    not_negative("alpha", alpha)

    def coefficient(R: jax.Array) -> jax.Array:
        # 1 - tanh(x) = 2 / (1 + exp(2 x)), without the cancellation that rounds it to 0 from x = 9 on.
        M = 2 / (1 + jnp.exp(2 * alpha * jax.nn.relu(R - 1)))
        return jnp.maximum(M, jnp.finfo(M.dtype).tiny)

    return {name: coefficient(R) for name, R in contribution_ratios(confidence, eps).items()}


class ScaleByCGMState(NamedTuple):
    """State of `scale_by_cgm`.

    Attributes:
      count: () int32 number of updates.
      coefficients: {branch: () M last applied}; 1 before the first update.
    """

    count: jax.Array  # type: ignore[assignment]
    coefficients: dict[str, jax.Array]


def value_at(schedule: optax.ScalarOrSchedule, count: jax.Array) -> Any:
    """Returns the value of a schedule at an update; a constant is returned unchanged."""
    return schedule(count) if callable(schedule) else schedule


def scale_by_cgm(
    labels: Labels, alpha: optax.ScalarOrSchedule = 0.9, eps: float | Float[Array, ""] = 1e-8
) -> optax.GradientTransformationExtraArgs:
    """Scales each branch's subtree of the updates by its modulation coefficient M, see `modulation_coefficients`.

    Before the moments this is the paper's CGM. After them, M scales the learning rate of the branch. Adam's update
    hardly depends on a slowly changing factor of its input.

    Args:
      labels: A pytree prefix of the parameters whose leaves are branch names, or None for a subtree to leave unchanged;
        or a callable that makes one from the parameters, as in `optax.partition`. `optax.inject_hyperparams` treats
        every callable as a schedule, so give it `static_args=("labels",)` with callable labels.
      alpha: See `modulation_coefficients`. May be a schedule from the number of the update to alpha, for example to end
        the modulation.
      eps: See `contribution_ratios`.

    Returns:
      A transformation whose `update` requires the keyword `confidence`, {branch: () S over the global batch}.
      Its state's `coefficients` holds the M last applied.

    Raises:
      ValueError: A negative alpha. From `init`: the labels do not fit the parameters. From `update`: `confidence` is
        missing, its branches are not those of the labels, or an S is not a scalar.

    Example:
      >>> params = {"res": jnp.ones(2), "dense": jnp.ones(2), "fusion": jnp.ones(2)}
      >>> tx = optax.chain(
      ...     scale_by_cgm({"res": "res", "dense": "dense", "fusion": None}, alpha=0.9), optax.sgd(1.0)
      ... )
      >>> S = {"res": jnp.float32(60.0), "dense": jnp.float32(40.0)}
      >>> updates, state = tx.update(params, tx.init(params), params, confidence=S)
      >>> print({name: round(float(-u[0]), 3) for name, u in updates.items()})
      {'dense': 1.0, 'fusion': 1.0, 'res': 0.578}
    """
    not_negative("alpha", alpha)

    def step(state: ScaleByCGMState, S: dict[str, jax.Array]) -> ScaleByCGMState:
        coefficients = modulation_coefficients(S, value_at(alpha, state.count), eps)
        return ScaleByCGMState(optax.safe_increment(state.count), as_float32(coefficients))

    def begin(names: list[str]) -> ScaleByCGMState:
        return ScaleByCGMState(jnp.zeros((), jnp.int32), ones(names))

    return scale_by_coefficients("scale_by_cgm", labels, ["confidence"], begin, step)
