"""CGM's coefficients, shuffled between branches and steps: the null control for studies of modulation.

Its gain comes from the size of the coefficients or from their noise, not from balance between the branches. With mean
1 it comes from the noise alone.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from dcdp_jax.optim.branches import Labels, as_float32, as_key_data, not_negative, ones, scale_by_coefficients
from dcdp_jax.optim.cgm import modulation_coefficients, value_at


class ScaleByShuffledCGMState(NamedTuple):
    """State of `scale_by_shuffled_cgm`.

    Attributes:
      rng_key: Random key of the next draw, as raw data, which a checkpoint can hold.
      count: () int32 number of updates.
      seen: (memory, branches) the last M of CGM, branches sorted by name; a ring in which update i is row i % memory.
      coefficients: {branch: () coefficient last applied}; 1 before the first update.
    """

    rng_key: jax.Array
    count: jax.Array  # type: ignore[assignment]
    seen: jax.Array
    coefficients: dict[str, jax.Array]


def scale_by_shuffled_cgm(
    labels: Labels,
    alpha: optax.ScalarOrSchedule = 0.9,
    eps: float | Float[Array, ""] = 1e-8,
    memory: int = 1000,
    key: ArrayLike = 0,
    *,
    mean_one: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Scales each branch's subtree by the M that CGM had for a random branch at a random step.

    Every update computes and stores the M of `scale_by_cgm`. It then draws one of the last `memory` updates, including
    this one, and assigns its M to the branches in random order. The coefficients have the distribution of CGM's M, but
    which branch is slowed down, and when, does not depend on the confidences.

    CGM's M are at most 1, so on average these coefficients shorten the steps. `mean_one` divides them by the mean of
    all M that they are drawn from: with L = min(t, memory) updates kept at update t, n branches, a random update j of
    these and a random permutation p of the branches,

        k_m = M_j,p(m) / (1 / (L n) sum_i sum_b M_i,b),

    so that the expectation of k_m over the draw is exactly 1 for every branch at every update. The mean is at least
    1 / n, because the branch with the lowest confidence has M = 1; hence k_m is at most n. Before the moments, only the
    first moment keeps its expectation without modulation; the second grows by the variance of k_m.

    Args:
      labels: See `scale_by_cgm`.
      alpha: See `scale_by_cgm`.
      eps: See `contribution_ratios`.
      memory: Number of updates whose M are kept.
      key: Random key of the draws, or an integer seed.
      mean_one: Whether the coefficients have mean 1 instead of that of CGM's M.

    Returns:
      A transformation whose `update` requires the keyword `confidence`; its state's `coefficients` holds the
      coefficients last applied.

    Raises:
      ValueError: As in `scale_by_cgm`, or a memory below 1.

    Example:
      >>> params = {"res": jnp.ones(2), "dense": jnp.ones(2)}
      >>> tx = scale_by_shuffled_cgm({"res": "res", "dense": "dense"}, alpha=0.9, key=1)
      >>> updates, state = tx.update(params, tx.init(params), confidence={"res": 60.0, "dense": 40.0})
      >>> print(sorted(round(float(u[0]), 3) for u in updates.values()))
      [0.578, 1.0]
      >>> tx = scale_by_shuffled_cgm({"res": "res", "dense": "dense"}, alpha=0.9, key=1, mean_one=True)
      >>> updates, state = tx.update(params, tx.init(params), confidence={"res": 60.0, "dense": 40.0})
      >>> print(sorted(round(float(u[0]), 3) for u in updates.values()))
      [0.733, 1.267]
    """
    not_negative("alpha", alpha)
    if memory < 1 or memory != int(memory):
        raise ValueError(f"memory={memory} is not a positive whole number of updates")

    def begin(names: list[str]) -> ScaleByShuffledCGMState:
        seen = jnp.ones((memory, len(names)), jnp.float32)
        return ScaleByShuffledCGMState(as_key_data(key), jnp.zeros((), jnp.int32), seen, ones(names))

    def step(state: ScaleByShuffledCGMState, S: dict[str, jax.Array]) -> ScaleByShuffledCGMState:
        M = as_float32(modulation_coefficients(S, value_at(alpha, state.count), eps))
        seen = state.seen.at[state.count % memory].set(jnp.stack([M[name] for name in sorted(M)]))
        following, for_step, for_order = jax.random.split(jax.random.wrap_key_data(state.rng_key), 3)
        kept = jnp.minimum(state.count + 1, memory)
        shuffled = jax.random.permutation(for_order, seen[jax.random.randint(for_step, (), 0, kept)])
        if mean_one:
            shuffled /= jnp.mean(seen, where=(jnp.arange(memory) < kept)[:, None])
        coefficients = {name: shuffled[i] for i, name in enumerate(sorted(M))}
        count = optax.safe_increment(state.count)
        return ScaleByShuffledCGMState(jax.random.key_data(following), count, seen, coefficients)

    return scale_by_coefficients("scale_by_shuffled_cgm", labels, ["confidence"], begin, step)
