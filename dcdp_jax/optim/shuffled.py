"""CGM's coefficients, shuffled between branches and steps: the null control of every study of modulation.

What it gains comes from noise in the learning rates, not from balance between the branches.
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
) -> optax.GradientTransformationExtraArgs:
    """Scales each branch's subtree by the M that CGM had for a random branch at a random step.

    At every update the M of `scale_by_cgm` are computed and kept, one of the last `memory` updates is drawn, this one
    included, and its M are dealt to the branches in random order. The coefficients have the distribution of CGM's M,
    but which branch is slowed down, and when, says nothing about the confidences.

    Args:
      labels: See `scale_by_cgm`.
      alpha: See `scale_by_cgm`.
      eps: See `contribution_ratios`.
      memory: Number of updates whose M are kept.
      key: Random key of the draws, or an integer seed.

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
    """
    not_negative("alpha", alpha)
    if memory < 1:
        raise ValueError(f"memory={memory} is no positive number of updates")

    def begin(names: list[str]) -> ScaleByShuffledCGMState:
        seen = jnp.ones((memory, len(names)), jnp.float32)
        return ScaleByShuffledCGMState(as_key_data(key), jnp.zeros((), jnp.int32), seen, ones(names))

    def step(state: ScaleByShuffledCGMState, S: dict[str, jax.Array]) -> ScaleByShuffledCGMState:
        M = as_float32(modulation_coefficients(S, value_at(alpha, state.count), eps))
        seen = state.seen.at[state.count % memory].set(jnp.stack([M[name] for name in sorted(M)]))
        following, for_step, for_order = jax.random.split(jax.random.wrap_key_data(state.rng_key), 3)
        step = jax.random.randint(for_step, (), 0, jnp.minimum(state.count + 1, memory))
        dealt = jax.random.permutation(for_order, seen[step])
        coefficients = {name: dealt[i] for i, name in enumerate(sorted(M))}
        count = optax.safe_increment(state.count)
        return ScaleByShuffledCGMState(jax.random.key_data(following), count, seen, coefficients)

    return scale_by_coefficients("scale_by_shuffled_cgm", labels, ["confidence"], begin, step)
