"""The paper's losses (sections 3.2 and 3.3.1): multi-stage contrast, alignment and their sum with the cross-entropies.

Shapes: b batch, d embedding, k classes. Inside a mapped axis every loss is the mean over this device's windows;
the mean over devices is then the loss of the global batch, gradients included.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def l2_normalize(x: Float[Array, "b d"]) -> Float[Array, "b d"]:
    """Rows of unit length; a zero row stays zero, with a zero gradient."""
    squared = jnp.sum(x * x, axis=-1, keepdims=True)
    safe = jnp.where(squared > 0, squared, 1)
    return x * jax.lax.rsqrt(safe)


def contrastive_loss(
    z_a: Float[Array, "b d"],
    z_b: Float[Array, "b d"],
    temperature: float | Float[Array, ""],
    *,
    axis_name: str | None = None,
) -> Float[Array, ""]:
    """Symmetric InfoNCE between two views of the same windows, L_contrast^(l) of section 3.2.

    Args:
      z_a: (b, d) embeddings of one branch, not yet normalised.
      z_b: (b, d) embeddings of the other; row i belongs to the same window as row i of z_a.
      temperature: tau > 0.
      axis_name: mapped axis from whose other devices negatives are gathered, so that every window is contrasted
        with the global batch. None contrasts within the rows given.

    Returns:
      () mean over the rows given, of both directions.

    Example:
      >>> z = jnp.eye(4)
      >>> print(f"{contrastive_loss(z, z, 0.5):.4f} {contrastive_loss(z, z[::-1], 0.5):.4f}")
      0.3408 2.3408
    """
    z_a, z_b = l2_normalize(z_a), l2_normalize(z_b)
    all_a, all_b, own = z_a, z_b, jnp.arange(z_a.shape[0])
    if axis_name is not None:
        all_a, all_b = (jax.lax.all_gather(z, axis_name, tiled=True) for z in (z_a, z_b))
        own = own + jax.lax.axis_index(axis_name) * z_a.shape[0]

    def cross_entropy(queries: jax.Array, candidates: jax.Array) -> jax.Array:
        log_softmax = jax.nn.log_softmax(queries @ candidates.T / temperature, axis=-1)
        return -jnp.take_along_axis(log_softmax, own[:, None], axis=-1).mean()

    return (cross_entropy(z_a, all_b) + cross_entropy(z_b, all_a)) / 2


def multi_stage_contrastive_loss(
    stages: Sequence[Mapping[str, Float[Array, "b _"]]],
    temperature: float | Float[Array, ""],
    *,
    axis_name: str | None = None,
) -> Float[Array, ""]:
    """L_contrast of section 3.2: mean over the stages, and over the pairs of branches where there are more than two.

    Args:
      stages: per stage {branch: (b, d)}, not yet normalised. Every stage has the same branches, two or more.
      temperature: tau > 0.
      axis_name: see `contrastive_loss`.

    Returns:
      ().

    Raises:
      ValueError: no stage, or a stage with fewer than two branches.
    """
    if not stages or any(len(stage) < 2 for stage in stages):
        raise ValueError(f"contrast needs two or more branches in every stage, got {[sorted(s) for s in stages]}")
    losses = [
        contrastive_loss(stage[a], stage[b], temperature, axis_name=axis_name)
        for stage in stages
        for a, b in combinations(sorted(stage), 2)
    ]
    return jnp.stack(losses).mean()


def alignment_loss(h_a: Float[Array, "b d"], h_b: Float[Array, "b d"]) -> Float[Array, ""]:
    """L_align of section 3.2: mean squared error, over rows and features, of the L2-normalised embeddings.

    Args:
      h_a: (b, d) embeddings of one branch.
      h_b: (b, d) embeddings of the other.

    Returns:
      ().
    """
    return jnp.mean(jnp.square(l2_normalize(h_a) - l2_normalize(h_b)))


def mean_alignment_loss(embeddings: Mapping[str, Float[Array, "b d"]]) -> Float[Array, ""]:
    """`alignment_loss` averaged over the pairs of branches: the paper's where there are two.

    Args:
      embeddings: {branch: (b, d)}, two branches or more.

    Returns:
      ().

    Raises:
      ValueError: fewer than two branches.
    """
    if len(embeddings) < 2:
        raise ValueError(f"alignment needs two or more branches, got {sorted(embeddings)}")
    pairs = combinations(sorted(embeddings), 2)
    return jnp.stack([alignment_loss(embeddings[a], embeddings[b]) for a, b in pairs]).mean()


def cross_entropy(
    logits: Float[Array, "b k"], labels: Int[Array, "b"], label_smoothing: float = 0.0
) -> Float[Array, "b"]:
    """-log softmax(logits)[label] per window, against labels smoothed towards uniform.

    Args:
      logits: (b, k).
      labels: (b,) in [0, k).
      label_smoothing: share of the target given to the uniform distribution.

    Returns:
      (b,).
    """
    log_softmax = jax.nn.log_softmax(logits, axis=-1)
    own = jnp.take_along_axis(log_softmax, labels[:, None], axis=-1)[:, 0]
    return -(1 - label_smoothing) * own - label_smoothing * log_softmax.mean(axis=-1)


def total_loss(
    fusion: Float[Array, "b k"],
    branches: Mapping[str, Float[Array, "b k"]],
    embeddings: Mapping[str, Float[Array, "b d"]],
    stages: Sequence[Mapping[str, Float[Array, "b _"]]],
    labels: Int[Array, "b"],
    *,
    align_weight: float,
    temperature: float,
    label_smoothing: float = 0.0,
    axis_name: str | None = None,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """L_total of section 3.3.1: sum of the cross-entropies + lambda (contrast + align).

    With one branch there is nothing to contrast or align and the sum of its two cross-entropies remains.

    Args:
      fusion: (b, k) logits of the fusion classifier.
      branches: {branch: (b, k)} logits of each branch's classifier.
      embeddings: {branch: (b, d)} h.
      stages: per stage {branch: (b, d)} z, not normalised.
      labels: (b,) in [0, k).
      align_weight: lambda.
      temperature: tau.
      label_smoothing: see `cross_entropy`.
      axis_name: see `contrastive_loss`.

    Returns:
      () total, and its terms by name: each branch's name, `fusion`, and `contrast` and `align` (unweighted).
    """
    terms = {
        name: cross_entropy(logits, labels, label_smoothing).mean()
        for name, logits in {**branches, "fusion": fusion}.items()
    }
    total = sum(terms.values(), start=jnp.zeros(()))
    if len(branches) > 1:
        terms["contrast"] = multi_stage_contrastive_loss(stages, temperature, axis_name=axis_name)
        terms["align"] = mean_alignment_loss(embeddings)
        total = total + align_weight * (terms["contrast"] + terms["align"])
    return total, terms
