"""The optimiser as one optax chain: clip, modulation, moments, weight decay, learning rate."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from dcdp_jax.optim.average import average_statistics
from dcdp_jax.optim.branches import Labels, is_zero
from dcdp_jax.optim.decoupled import scale_by_adam_with_decoupled_cgm
from dcdp_jax.optim.inspect import coefficients_of
from dcdp_jax.optim.methods import METHODS

OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("cosine", "constant")


def learning_rate_schedule(
    name: str, peak: float | Float[Array, ""], total_steps: int, warmup_steps: int
) -> optax.Schedule:
    """Builds a schedule with a linear warm-up, followed by a cosine decay to 0 or a constant.

    Args:
      name: One of `SCHEDULES`.
      peak: Learning rate after the warm-up.
      total_steps: Number of training steps; the cosine decay ends there.
      warmup_steps: Step i < warmup_steps has the rate peak * (i + 1) / warmup_steps.

    Returns:
      A function from the step to the learning rate.

    Raises:
      ValueError: An unknown name.

    Example:
      >>> schedule = learning_rate_schedule("constant", 0.5, total_steps=100, warmup_steps=2)
      >>> print([float(schedule(step)) for step in range(3)])
      [0.25, 0.5, 0.5]
    """
    if name == "cosine":
        after = optax.cosine_decay_schedule(peak, max(total_steps - warmup_steps, 1))
    elif name == "constant":
        after = optax.constant_schedule(peak)
    else:
        raise ValueError(f"schedule {name!r} is not one of {SCHEDULES}")
    if warmup_steps == 0:
        return after
    warmup = optax.linear_schedule(peak / warmup_steps, peak * (1 + 1 / warmup_steps), warmup_steps)
    return optax.join_schedules([warmup, after], [warmup_steps])


def momentum(beta: float | Float[Array, ""]) -> optax.GradientTransformation:
    """Replaces the gradient g by m_t = beta m_(t-1) + (1 - beta) g_t, the paper's rule, without bias correction.

    Args:
      beta: Decay rate of the moving average.

    Returns:
      A transformation.

    Example:
      >>> import jax.numpy as jnp
      >>> tx = momentum(0.75)
      >>> print(tx.update(jnp.ones(1), tx.init(jnp.ones(1)))[0])
      [0.25]
    """
    return optax.ema(beta, debias=False)


def decays(params: Any) -> Any:
    """Marks the parameters with weight decay: kernels, but not biases or the scales of batch normalisation."""
    return jax.tree.map(lambda p: p.ndim > 1, params)


def acting(
    inner: optax.GradientTransformationExtraArgs, acts: Callable[[jax.Array], jax.Array]
) -> optax.GradientTransformationExtraArgs:
    """Applies a transformation in the updates for whose number `acts` is true.

    In the others its state does not change, except that `coefficients`, which say what was last applied, are those of
    the initial state.
    """
    conditional = optax.transforms.conditionally_transform(inner, acts)

    def update(
        updates: optax.Updates, state: Any, params: optax.Params | None = None, **extra: Any
    ) -> tuple[optax.Updates, Any]:
        without = coefficients_of(inner.init(updates))
        updates, following = conditional.update(updates, state, params, **extra)
        if without is not None:
            applied = jax.tree.map(
                lambda coefficient, none: jnp.where(acts(state.step), coefficient, none),
                coefficients_of(following),
                without,
            )
            following = optax.tree.set(following, coefficients=applied)
        return updates, following

    return optax.GradientTransformationExtraArgs(conditional.init, update)


def build_optimizer(
    name: str,
    schedule: optax.Schedule,
    *,
    b1: float | Float[Array, ""],
    b2: float | Float[Array, ""],
    eps: float | Float[Array, ""],
    weight_decay: float | Float[Array, ""],
    clip_norm: float | Float[Array, ""],
    labels: Labels | None = None,
    method: str = "cgm",
    arguments: Mapping[str, Any] = MappingProxyType({}),
    placement: str = "before",
    acts: Callable[[jax.Array], jax.Array] | None = None,
    decay: float | Float[Array, ""] | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Builds the optimiser chain of training.

    Args:
      name: One of `OPTIMIZERS`: `adamw`; `adam`, the same without weight decay; `sgd`, with the paper's momentum rule.
      schedule: Function from the step to the learning rate.
      b1: Decay rate of the first moment (beta of the paper).
      b2: Decay rate of the second moment, of adamw and adam.
      eps: Epsilon of adamw and adam.
      weight_decay: Decoupled weight decay of adamw; see `decays`.
      clip_norm: Largest global norm of the gradient before modulation; 0 for no clipping. MMPareto combines before
        clipping, because only its result is a gradient of all losses.
      labels: Assigns parameters to branches, see `scale_by_cgm`; None for no modulation.
      method: One of `METHODS`.
      arguments: Arguments of the method's transformation, such as alpha.
      placement: One of `PLACEMENTS` that the method supports. `before` (the paper) acts before the moments. `after`
        acts on the preconditioned update, before weight decay, as a learning rate per branch. `decoupled` acts on the
        first moment only; for sgd, which has no second moment, it is the same as `before`.
      acts: Function from the number of the update to whether the method acts; None for always. While the method does
        not act, its state does not change, but for the coefficients, which are those before the first update.
      decay: Decay rate of the exponential averages of the method's keywords, see `average_statistics`; None for the
        values of each update.

    Returns:
      A named chain whose `update` takes the method's keywords, see `METHODS`, and ignores others.

    Raises:
      ValueError: An unknown name, or a placement, `acts` or `decay` that the method does not support.

    Example:
      >>> import jax.numpy as jnp
      >>> tx = build_optimizer(
      ...     "sgd", lambda step: 1.0, b1=0.0, b2=0.9, eps=1e-8, weight_decay=0.0, clip_norm=0.0,
      ...     labels={"res": "res", "dense": "dense"}, method="rank", arguments={"strong": 0.25}
      ... )
      >>> params = {"res": jnp.ones(2), "dense": jnp.ones(2)}
      >>> updates, _ = tx.update(params, tx.init(params), params, confidence={"res": 60.0, "dense": 40.0})
      >>> print({branch: float(-u[0]) for branch, u in updates.items()})
      {'dense': 1.0, 'res': 0.25}
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer {name!r} is not one of {OPTIMIZERS}")
    moments = momentum(b1) if name == "sgd" else optax.scale_by_adam(b1, b2, eps)
    clip = [("clip", optax.clip_by_global_norm(clip_norm))] if not is_zero(clip_norm) else []
    if labels is None:
        chain = [*clip, ("moments", moments)]
    else:
        if method not in METHODS:
            raise ValueError(f"method {method!r} is not one of {tuple(METHODS)}")
        make, keywords, placements, optional = METHODS[method]
        if placement not in placements:
            raise ValueError(f"placement {placement!r} of {method} is not one of {placements}")
        if acts is not None and (placement == "decoupled" or not optional):
            raise ValueError(f"{method} with placement {placement!r} cannot be left out of some updates")
        if decay is not None and "unimodal" in keywords:
            raise ValueError(f"{method} reads gradients, which are not averaged; expected decay=None, got {decay}")

        def averaged(transformation: optax.GradientTransformation) -> optax.GradientTransformation:
            return transformation if decay is None else average_statistics(transformation, labels, keywords, decay)

        modulation: optax.GradientTransformation = make(labels, **arguments)
        if acts is not None:
            modulation = acting(modulation, acts)
        modulation = averaged(modulation)
        if placement == "decoupled" and name != "sgd":
            cgm_eps = {"cgm_eps": arguments["eps"]} if "eps" in arguments else {}
            others = {key: value for key, value in arguments.items() if key != "eps"}
            adam = scale_by_adam_with_decoupled_cgm(labels, b1, b2, eps, **others, **cgm_eps)
            chain = [*clip, ("moments", averaged(adam))]
        elif placement == "after":
            chain = [*clip, ("moments", moments), (method, modulation)]
        elif method == "mmpareto":
            chain = [(method, modulation), *clip, ("moments", moments)]
        else:
            chain = [*clip, (method, modulation), ("moments", moments)]
    if name == "adamw":
        chain.append(("decay", optax.add_decayed_weights(weight_decay, mask=decays)))
    chain.append(("rate", optax.scale_by_learning_rate(schedule)))
    return optax.with_extra_args_support(optax.named_chain(*chain))
