"""Adam with decoupled modulation: the first moment accumulates the modulated gradient, the second the plain one."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float

from dcdp_jax.optim.branches import (
    Labels,
    as_float32,
    branch_names,
    checked_branches,
    label_tree,
    not_negative,
    ones,
    scale_branches,
)
from dcdp_jax.optim.cgm import modulation_coefficients, value_at


class ScaleByAdamWithDecoupledCGMState(NamedTuple):
    """State of `scale_by_adam_with_decoupled_cgm`.

    Attributes:
      count: () int32 number of updates.
      mu: First moment of the modulated gradient, like the parameters.
      nu: Second moment of the unmodulated gradient, like the parameters.
      coefficients: {branch: () M last applied}; 1 before the first update.
    """

    count: jax.Array  # type: ignore[assignment]
    mu: Any
    nu: Any
    coefficients: dict[str, jax.Array]


def scale_by_adam_with_decoupled_cgm(
    labels: Labels,
    b1: float | Float[Array, ""] = 0.9,
    b2: float | Float[Array, ""] = 0.999,
    eps: float | Float[Array, ""] = 1e-8,
    eps_root: float | Float[Array, ""] = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    alpha: optax.ScalarOrSchedule = 0.9,
    cgm_eps: float | Float[Array, ""] = 1e-8,
) -> optax.GradientTransformationExtraArgs:
    """Rescales updates as Adam does, without cancelling the modulation.

    m_t = b1 m_(t-1) + (1 - b1) M g_t, v_t = b2 v_(t-1) + (1 - b2) g_t^2, and the update is
    m^ / (sqrt(v^ + eps_root) + eps), with both moments bias-corrected as in Adam. With M = 1 it is
    `optax.scale_by_adam`. Before Adam, a constant M cancels in m^ / sqrt(v^); here the update is M times the
    unmodulated one.

    Args:
      labels: See `scale_by_cgm`.
      b1: Decay rate of the first moment.
      b2: Decay rate of the second moment.
      eps: Added to the square root in the denominator.
      eps_root: Added under the square root.
      mu_dtype: Dtype of the first moment; None for that of the parameters.
      nesterov: Whether to use Nesterov momentum (Dozat 2016), with the modulated gradient.
      alpha: See `scale_by_cgm`.
      cgm_eps: The eps of `contribution_ratios`.

    Returns:
      A transformation whose `update` requires the keyword `confidence`; its state's `coefficients` holds the M last
      applied.

    Raises:
      ValueError: As in `scale_by_cgm`.

    Example:
      >>> params = {"res": jnp.ones(2), "dense": jnp.ones(2)}
      >>> tx = scale_by_adam_with_decoupled_cgm({"res": "res", "dense": "dense"}, alpha=0.9)
      >>> S = {"res": jnp.float32(60.0), "dense": jnp.float32(40.0)}
      >>> updates, state = tx.update(params, tx.init(params), confidence=S)
      >>> print({name: round(float(u[0]), 3) for name, u in updates.items()})
      {'dense': 1.0, 'res': 0.578}
    """
    not_negative("alpha", alpha)

    def init(params: optax.Params) -> ScaleByAdamWithDecoupledCGMState:
        return ScaleByAdamWithDecoupledCGMState(
            count=jnp.zeros((), jnp.int32),
            mu=optax.tree.zeros_like(params, dtype=mu_dtype),
            nu=optax.tree.zeros_like(params),
            coefficients=ones(branch_names(label_tree(labels, params))),
        )

    def update(
        updates: optax.Updates,
        state: ScaleByAdamWithDecoupledCGMState,
        params: optax.Params | None = None,
        *,
        confidence: Mapping[str, ArrayLike] | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, ScaleByAdamWithDecoupledCGMState]:
        del params, extra
        S = checked_branches("scale_by_adam_with_decoupled_cgm", "confidence", confidence, state.coefficients)
        coefficients = as_float32(modulation_coefficients(S, value_at(alpha, state.count), cgm_eps))
        modulated = scale_branches(label_tree(labels, updates), updates, coefficients)
        mu = optax.tree.update_moment(modulated, state.mu, b1, 1)
        nu = optax.tree.update_moment_per_elem_norm(updates, state.nu, b2, 2)
        count = optax.safe_increment(state.count)
        if nesterov:
            mu_hat = jax.tree.map(
                lambda m, g: b1 * m + (1 - b1) * g,
                optax.tree.bias_correction(mu, b1, optax.safe_increment(count)),
                optax.tree.bias_correction(modulated, b1, count),
            )
        else:
            mu_hat = optax.tree.bias_correction(mu, b1, count)
        nu_hat = optax.tree.bias_correction(nu, b2, count)
        scaled = jax.tree.map(lambda m, v: m / (jnp.sqrt(v + eps_root) + eps), mu_hat, nu_hat)
        mu, nu = optax.tree.cast(mu, mu_dtype), optax.tree.cast_like(nu, state.nu)
        return scaled, ScaleByAdamWithDecoupledCGMState(count, mu, nu, coefficients)

    return optax.GradientTransformationExtraArgs(init, update)
