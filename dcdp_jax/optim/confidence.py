"""What the classifiers of the branches say of a batch, as the keywords of the transformations' updates.

Shapes: b batch, k classes.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def true_class_confidence(
    logits: Mapping[str, Float[Array, "b k"]],
    labels: Int[Array, "b"],
    axis_name: str | None = None,
    *,
    mask: Bool[Array, "b"] | None = None,
) -> dict[str, Float[Array, ""]]:
    """Computes S_m of section 3.3: the sum over the windows of the softmax probability of the true class.

    Args:
      logits: {branch: (b, k)}.
      labels: (b,) in [0, k).
      axis_name: A mapped axis over which S is summed, so that it is that of the global batch; None for this array's
        windows alone.
      mask: (b,) which windows count; None for all.

    Returns:
      {branch: () S}.

    Example:
      >>> logits = {"res": jnp.array([[0.0, 0.0], [0.0, 0.0]]), "dense": jnp.array([[50.0, 0.0], [0.0, 50.0]])}
      >>> print({name: float(S) for name, S in true_class_confidence(logits, jnp.array([0, 1])).items()})
      {'res': 1.0, 'dense': 2.0}
    """
    weight = jnp.ones(labels.shape) if mask is None else mask.astype(jnp.float32)
    S = {
        name: jnp.sum(weight * jnp.take_along_axis(jax.nn.softmax(z), labels[:, None], axis=-1)[:, 0])
        for name, z in logits.items()
    }
    return S if axis_name is None else jax.lax.psum(S, axis_name)
