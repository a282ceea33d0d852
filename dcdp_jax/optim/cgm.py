"""CGM, confidence-driven gradient modulation (section 3.3 of the paper), as an optax transformation."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from dcdp_jax.optim.branches import (
    as_float32,
    branch_names,
    checked_branches,
    label_tree,
    scale_branches,
    single_or_better,
)


def contribution_ratios(
    confidence: Mapping[str, Float[Array, ""]], eps: float | Float[Array, ""] = 1e-8
) -> dict[str, Float[Array, ""]]:
    """R_m = S_m / (mean of the other branches' S + eps); the paper's ratio where there are two branches.

    Args:
      confidence: {branch: S}, S the sum over the global batch of the softmax probability that the branch's own
        classifier gives to the true class. Two branches or more.
      eps: keeps the ratio finite where the others' confidence is 0.

    Returns:
      {branch: R}, in single precision or better.

    Raises:
      ValueError: fewer than two branches.
    """
    if len(confidence) < 2:
        raise ValueError(f"a contribution ratio compares two or more branches, got {sorted(confidence)}")
    # In half precision eps is 0.
    S = {name: single_or_better(value) for name, value in confidence.items()}
    ratios = {}
    for name in S:
        others = [S[other] for other in sorted(S) if other != name]
        ratios[name] = S[name] / (sum(others[1:], start=others[0]) / len(others) + eps)
    return ratios


def modulation_coefficients(
    confidence: Mapping[str, Float[Array, ""]], alpha: float | Float[Array, ""], eps: float | Float[Array, ""] = 1e-8
) -> dict[str, Float[Array, ""]]:
    """M_m = 1 - tanh(alpha relu(R_m - 1)): 1 for a branch that does not dominate, less the more it does.

    Args:
      confidence: {branch: S}, see `contribution_ratios`.
      alpha: strength of the modulation; 0 switches it off.
      eps: see `contribution_ratios`.

    Returns:
      {branch: M}, each in (0, 1]: where float arithmetic rounds 1 - tanh to 0 the smallest normal number is
      returned, so that a branch is slowed down and never frozen.

    Raises:
      ValueError: fewer than two branches.

    Example:
      >>> M = modulation_coefficients({"res": jnp.float32(60.0), "dense": jnp.float32(40.0)}, alpha=0.9)
      >>> print({name: round(float(m), 3) for name, m in M.items()})
      {'res': 0.578, 'dense': 1.0}
    """

    def coefficient(R: jax.Array) -> jax.Array:
        # 1 - tanh(x) = 2 / (1 + exp(2 x)), without the cancellation that rounds it to 0 from x = 9 on.
        M = 2 / (1 + jnp.exp(2 * alpha * jax.nn.relu(R - 1)))
        return jnp.maximum(M, jnp.finfo(M.dtype).tiny)

    return {name: coefficient(R) for name, R in contribution_ratios(confidence, eps).items()}


class CGMState(NamedTuple):
    """State of `scale_by_cgm`.

    Attributes:
      count: () int32 updates so far.
      coefficients: {branch: () M last applied}; 1 before the first update.
    """

    count: jax.Array  # type: ignore[assignment]
    coefficients: dict[str, jax.Array]


def value_at(schedule: optax.ScalarOrSchedule, count: jax.Array) -> Any:
    """A constant, or the value of a schedule at an update."""
    return schedule(count) if callable(schedule) else schedule


# A pytree prefix of the parameters, or a callable that makes one from them; see `scale_by_cgm`.
Labels = Any | Callable[[Any], Any]


def scale_by_cgm(
    labels: Labels, alpha: optax.ScalarOrSchedule = 0.9, eps: float | Float[Array, ""] = 1e-8
) -> optax.GradientTransformationExtraArgs:
    """Scales each branch's subtree of the updates by its modulation coefficient M.

    Ahead of the moments this is the paper's CGM; behind them M is a learning rate per branch. Note that Adam's update
    hardly depends on a slowly changing factor on its input.

    Args:
      labels: a pytree prefix of the parameters with a branch name, or None for «leave alone»; or a callable that
        makes one from the parameters. As `optax.partition` takes them.
      alpha: see `modulation_coefficients`; or a schedule, update number -> alpha, as for a modulation that ends.
      eps: see `contribution_ratios`.

    Returns:
      A transformation whose `update` requires the keyword `confidence`, {branch: () S over the global batch}.
      Its state's `coefficients` holds the M last applied.

    Raises:
      ValueError: from `update`, where `confidence` is missing or its branches are not those of the labels.

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

    def init(params: optax.Params) -> CGMState:
        names = branch_names(label_tree(labels, params))
        return CGMState(jnp.zeros((), jnp.int32), {name: jnp.ones((), jnp.float32) for name in names})

    def update(
        updates: optax.Updates,
        state: CGMState,
        params: optax.Params | None = None,
        *,
        confidence: Mapping[str, jax.Array] | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, CGMState]:
        del params, extra
        S = checked_branches("scale_by_cgm", "confidence", confidence, state.coefficients)
        coefficients = as_float32(modulation_coefficients(S, value_at(alpha, state.count), eps))
        updates = scale_branches(label_tree(labels, updates), updates, coefficients)
        return updates, CGMState(optax.safe_increment(state.count), coefficients)

    return optax.GradientTransformationExtraArgs(init, update)
