"""Exponential averages of the keywords of a method's updates, such as the branches' confidence."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from dcdp_jax.optim.branches import Labels, branch_names, checked_branches, is_known, is_zero, label_tree


class AverageStatisticsState(NamedTuple):
    """State of `average_statistics`.

    Attributes:
      statistics: {keyword: {branch: () the average last passed on}}; 0 before the first update.
      weight: () sum of the weights of all values in the average, 1 - decay^n after n updates.
      inner: State of the transformation inside.
    """

    statistics: dict[str, dict[str, jax.Array]]
    weight: jax.Array
    inner: optax.OptState


def average_statistics(
    inner: optax.GradientTransformation,
    labels: Labels,
    keywords: Sequence[str] = ("confidence",),
    decay: float | Float[Array, ""] = 0.9,
) -> optax.GradientTransformationExtraArgs:
    """Replaces keywords of the updates by their exponential averages, with bias correction.

    After n updates a keyword's average is sum_i (1 - decay) decay^(n - i) x_i / (1 - decay^n), so the first update
    passes on its own value. A decay of 0 passes on every value unchanged and keeps it in the state.

    Args:
      inner: Transformation whose update takes the keywords, such as `scale_by_cgm`.
      labels: Assigns parameters to branches, see `scale_by_cgm`.
      keywords: Keywords to average, each {branch: ()}.
      decay: Decay rate of the averages, in [0, 1).

    Returns:
      A transformation whose `update` requires the keywords.

    Raises:
      ValueError: The keywords are one text, or the decay is not in [0, 1); from `update`: a keyword is missing, or
        its branches are not those of the labels.

    Example:
      >>> from dcdp_jax.optim import scale_by_rank
      >>> labels = {"res": "res", "dense": "dense"}
      >>> params = {"res": jnp.ones(1), "dense": jnp.ones(1)}
      >>> tx = average_statistics(scale_by_rank(labels), labels, decay=0.5)
      >>> state = tx.init(params)
      >>> for res in (60.0, 30.0):
      ...     _, state = tx.update(params, state, confidence={"res": res, "dense": 40.0})
      >>> print({name: float(S) for name, S in state.statistics["confidence"].items()})
      {'dense': 40.0, 'res': 40.0}
    """
    if isinstance(keywords, str):
        raise ValueError(f"keywords={keywords!r} is a text, expected a sequence of names, as ({keywords!r},)")
    if is_known(decay) and not 0 <= decay < 1:
        raise ValueError(f"decay={decay} is not in [0, 1)")
    inner = optax.with_extra_args_support(inner)

    def init(params: optax.Params) -> AverageStatisticsState:
        names = branch_names(label_tree(labels, params))
        statistics = {keyword: {name: jnp.zeros((), jnp.float32) for name in names} for keyword in keywords}
        return AverageStatisticsState(statistics, jnp.zeros((), jnp.float32), inner.init(params))

    def update(
        updates: optax.Updates,
        state: AverageStatisticsState,
        params: optax.Params | None = None,
        **extra: Mapping[str, ArrayLike] | Any,
    ) -> tuple[optax.Updates, AverageStatisticsState]:
        given = {
            keyword: checked_branches("average_statistics", keyword, extra.get(keyword), state.statistics[keyword])
            for keyword in keywords
        }
        weight = decay * state.weight + (1 - decay)
        share = (1 - decay) / weight
        statistics = jax.tree.map(
            lambda old, new: (
                new.astype(jnp.float32) if is_zero(decay) else old + share * (new.astype(jnp.float32) - old)
            ),
            state.statistics,
            given,
        )
        updates, following = inner.update(updates, state.inner, params, **{**extra, **statistics})
        return updates, AverageStatisticsState(statistics, weight, following)

    return optax.GradientTransformationExtraArgs(init, update)
