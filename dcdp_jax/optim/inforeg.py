"""InfoReg, information acquisition regulation: slows the stronger branch while it learns fast, early in training.

Huang et al. 2025, Adaptive unimodal regulation for balanced multimodal information acquisition.
https://arxiv.org/abs/2503.18595, as https://github.com/GeWu-Lab/InfoReg_CVPR2025 computes it (main.py).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from dcdp_jax.optim.branches import Labels, as_float32, branch_names, checked_branches, is_none, label_tree
from dcdp_jax.optim.cgm import against_the_others

# Epochs over which the released code averages the trace of the Fisher information.
EPOCHS = 10


class ScaleByInfoRegState(NamedTuple):
    """State of `scale_by_inforeg`.

    Attributes:
      count: () int32 number of updates.
      reference: The parameters at the start of the epoch; 0 before the first update.
      trace: {branch: () trace of the Fisher information, summed over this epoch's updates so far}.
      history: {branch: (11,) traces of the last epochs, the latest last; 0 before the first}.
      coefficients: {branch: () coefficient of the pull last applied}; 0 if the branch was not pulled.
    """

    count: jax.Array  # type: ignore[assignment]
    reference: Any
    trace: dict[str, jax.Array]
    history: dict[str, jax.Array]
    coefficients: dict[str, jax.Array]


def scale_by_inforeg(
    labels: Labels,
    epoch: int,
    beta: float | Float[Array, ""] = 0.95,
    threshold: float | Float[Array, ""] = 0.04,
) -> optax.GradientTransformationExtraArgs:
    """Pulls the more confident branch towards its parameters at the start of the epoch.

    The gradient g of a branch with the parameters theta becomes g + beta exp(tanh(gap)) (theta - theta_0), where
    theta_0 are the parameters at the start of the epoch and gap = S_m - (mean of the other branches' S). The pull acts
    only if

    1. the gap is positive, and
    2. the branch is in its prime learning window: (T_e - T_(e-1)) / T_e > threshold, where T_e is the mean trace of
       its Fisher information over the last 10 epochs before this one, and T_(e-1) is the same one epoch earlier.
       Epochs before the first count as 0, and the window is open in the first epoch. It closes when the trace stops
       growing, and may open again.

    As in the released code, the trace is the mean square of the batch's gradient, including the pull, summed over the
    arrays of two or more dimensions and over the epoch's updates.

    The released code regulates one branch, which it is told is the stronger, and computes the window from it. Here S
    determines the stronger branch at every update. For more than two branches the publication has no rule; the mean
    over the others follows `contribution_ratios`. S is a sum over the batch, so tanh is near 1 for all but small gaps.
    If gradients are accumulated over several batches, one accumulated gradient is one update.

    Args:
      labels: See `scale_by_cgm`; the published method regulates the encoders.
      epoch: Number of updates in an epoch.
      beta: Strength of the pull; 0 switches it off.
      threshold: Smallest relative growth of the trace at which the window is open.

    Returns:
      A transformation whose `update` requires `params` and the keyword `confidence`; its state's `coefficients` holds
      beta exp(tanh(gap)) as last applied, 0 without a pull. The state holds a copy of the parameters.

    Raises:
      ValueError: An epoch that is no whole number above 0. From `update`: `params` or `confidence` is missing, the
        branches of `confidence` are not those of the labels, or an S is not a scalar.

    Example:
      >>> params = {"res": jnp.ones(2), "dense": jnp.ones(2)}
      >>> tx = scale_by_inforeg({"res": "res", "dense": "dense"}, epoch=100)
      >>> gradients, S = {"res": jnp.zeros(2), "dense": jnp.zeros(2)}, {"res": 60.0, "dense": 40.0}
      >>> _, state = tx.update(gradients, tx.init(params), params, confidence=S)
      >>> moved = jax.tree.map(lambda p: p + 0.1, params)
      >>> updates, state = tx.update(gradients, state, moved, confidence=S)
      >>> print({name: round(float(u[0]), 3) for name, u in updates.items()})
      {'dense': 0.0, 'res': 0.258}
    """
    if epoch < 1 or epoch != int(epoch):
        raise ValueError(f"epoch={epoch} is not a positive whole number of updates")

    def init(params: optax.Params) -> ScaleByInfoRegState:
        names = branch_names(label_tree(labels, params))
        zeros = {name: jnp.zeros((), jnp.float32) for name in names}
        history = {name: jnp.zeros(EPOCHS + 1, jnp.float32) for name in names}
        # Zeros instead of the parameters, whose buffers a training step may donate. The first update copies them.
        reference = optax.tree.zeros_like(params)
        return ScaleByInfoRegState(jnp.zeros((), jnp.int32), reference, zeros, history, dict(zeros))

    def update(
        updates: optax.Updates,
        state: ScaleByInfoRegState,
        params: optax.Params | None = None,
        *,
        confidence: Mapping[str, ArrayLike] | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, ScaleByInfoRegState]:
        del extra
        if params is None:
            raise ValueError("scale_by_inforeg: update() needs params, towards whose earlier values it pulls")
        S = checked_branches("scale_by_inforeg", "confidence", confidence, state.coefficients)
        starts = state.count % epoch == 0
        reference = jax.tree.map(lambda p, r: jnp.where(starts, p, r), params, state.reference)
        ended = starts & (state.count > 0)
        history = {
            name: jnp.where(ended, jnp.append(past[1:], state.trace[name]), past)
            for name, past in state.history.items()
        }
        coefficients = {}
        for name, (own, others) in against_the_others(S, "InfoReg").items():
            is_open = (state.count < epoch) | (growth(history[name]) > threshold)
            pull = beta * jnp.exp(jnp.tanh(own - others))
            coefficients[name] = jnp.where(is_open & (own > others), pull, 0)
        coefficients = as_float32(coefficients)
        tree = label_tree(labels, updates)

        def regulate(label: str | None, g: Any, p: Any, r: Any) -> Any:
            if label is None:
                return g
            return jax.tree.map(lambda g, p, r: g + coefficients[label].astype(g.dtype) * (p - r), g, p, r)

        updates = jax.tree.map(regulate, tree, updates, params, reference, is_leaf=is_none)
        of_this = fisher_traces(tree, updates, list(S))
        trace = {name: jnp.where(starts, 0, state.trace[name]) + of_this[name] for name in S}
        count = optax.safe_increment(state.count)
        return updates, ScaleByInfoRegState(count, reference, trace, history, coefficients)

    return optax.GradientTransformationExtraArgs(init, update)


def growth(history: jax.Array) -> jax.Array:
    """Computes (new - old) / new, where new is the mean of all numbers but the first, and old of all but the last.

    The common divisor of the two means cancels, so that sums are enough. The growth is 0 if new is 0.
    """
    new = history[1:].sum()
    return jnp.where(new > 0, (history[-1] - history[0]) / jnp.where(new > 0, new, 1), 0)


def fisher_traces(labels: Any, updates: Any, names: list[str]) -> dict[str, jax.Array]:
    """Sums the mean squares of each branch's gradients of two or more dimensions, {branch: () float32}."""
    traces = {name: jnp.zeros((), jnp.float32) for name in names}

    def add(label: str | None, subtree: Any) -> None:
        if label is None:
            return
        for g in jax.tree.leaves(subtree):
            if g.ndim > 1:
                size = jnp.abs(g) if jnp.iscomplexobj(g) else g
                traces[label] += jnp.mean(jnp.square(size.astype(jnp.float32)))

    jax.tree.map(add, labels, updates, is_leaf=is_none)
    return traces
