"""The paper's losses (sections 3.2 and 3.3.1): multi-stage contrast, alignment and their sum with the cross-entropies.

Shapes: b batch, d embedding, k classes. Inside a mapped axis every loss is the mean over this device's windows. The
mean over devices is then the loss of the global batch, and the same holds for gradients.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

ALIGN_REDUCTIONS = ("mean", "sum")


def cross_entropy(
    logits: Float[Array, "b k"], labels: Int[Array, "b"], label_smoothing: float | Float[Array, ""] = 0.0
) -> Float[Array, "b"]:
    """Computes -log softmax(logits)[label] per window, with label smoothing towards the uniform distribution.

    Args:
      logits: (b, k).
      labels: (b,) in [0, k).
      label_smoothing: Share of the target given to the uniform distribution.

    Example:
      >>> print(cross_entropy(jnp.zeros((1, 4)), jnp.array([2])))
      [1.3862944]
    """
    # Not optax.softmax_cross_entropy_with_integer_labels: near certainty it loses digits, at logits of 20 to 1e-6.
    targets = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return optax.softmax_cross_entropy(logits, optax.smooth_labels(targets, label_smoothing))


def l2_normalize(x: Float[Array, "b d"]) -> Float[Array, "b d"]:
    """Scales rows to unit length; a zero row stays zero, with a zero gradient."""
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
    """Computes the symmetric InfoNCE between two views of the same windows, L_contrast^(l) of section 3.2.

    Args:
      z_a: (b, d) embeddings of one branch, not yet normalised.
      z_b: (b, d) embeddings of the other; row i belongs to the same window as row i of z_a.
      temperature: Tau, above 0.
      axis_name: Mapped axis over which negatives are gathered, so that every window is contrasted with the global
        batch; None to contrast within the rows given.

    Returns:
      () mean over the rows given and both directions.

    Example:
      >>> z = jnp.eye(4)
      >>> print(f"{contrastive_loss(z, z, 0.5):.4f} {contrastive_loss(z, z[::-1], 0.5):.4f}")
      0.3408 2.3408
    """
    queries, own = jnp.stack([l2_normalize(z_a), l2_normalize(z_b)]), jnp.arange(z_a.shape[0])
    candidates = queries[::-1]
    if axis_name is not None:
        candidates = jax.lax.all_gather(candidates, axis_name, axis=1, tiled=True)
        own = own + jax.lax.axis_index(axis_name) * z_a.shape[0]

    def one_direction(queries: jax.Array, candidates: jax.Array) -> jax.Array:
        return cross_entropy(queries @ candidates.T / temperature, own).mean()

    return jax.vmap(one_direction)(queries, candidates).mean()


def multi_stage_contrastive_loss(
    stages: Sequence[Mapping[str, Float[Array, "b _"]]],
    temperature: float | Float[Array, ""],
    *,
    axis_name: str | None = None,
) -> Float[Array, ""]:
    """Computes L_contrast of section 3.2: the mean over the stages and over the pairs of branches.

    Args:
      stages: Per stage {branch: (b, d)}, not yet normalised. Every stage has the same branches, two or more.
      temperature: Tau, above 0.
      axis_name: See `contrastive_loss`.

    Raises:
      ValueError: No stage, or a stage with fewer than two branches.

    Example:
      >>> stages = [{"res": jnp.eye(4), "dense": jnp.eye(4)}, {"res": jnp.eye(4), "dense": jnp.eye(4)[::-1]}]
      >>> print(f"{multi_stage_contrastive_loss(stages, 0.5):.4f}")
      1.3408
    """
    if not stages or any(len(stage) < 2 for stage in stages):
        raise ValueError(f"contrast needs two or more branches in every stage, got {[sorted(s) for s in stages]}")
    pairs = [(stage[a], stage[b]) for stage in stages for a, b in combinations(sorted(stage), 2)]
    # All pairs at once, for which XLA launches as many kernels as for one. Columns of zeros change no loss.
    widest = max(z.shape[-1] for pair in pairs for z in pair)
    z_a, z_b = (
        jnp.stack([jnp.pad(z, ((0, 0), (0, widest - z.shape[-1]))) for z in side]) for side in zip(*pairs, strict=True)
    )

    def one_pair(z_a: jax.Array, z_b: jax.Array) -> jax.Array:
        return contrastive_loss(z_a, z_b, temperature, axis_name=axis_name)

    return jax.vmap(one_pair)(z_a, z_b).mean()


def alignment_loss(h_a: Float[Array, "b d"], h_b: Float[Array, "b d"], reduction: str = "mean") -> Float[Array, ""]:
    """Computes L_align of section 3.2: the squared error of the L2-normalised embeddings.

    Args:
      h_a: (b, d) embeddings of one branch.
      h_b: (b, d) embeddings of the other.
      reduction: `mean` (the paper) over rows and features, or `sum` over the features and mean over the rows. The
        sum is d times the mean: for orthogonal embeddings it is 2 and the mean is 2 / d.

    Raises:
      ValueError: An unknown reduction.

    Example:
      >>> a, b = jnp.eye(4)[:2], jnp.eye(4)[2:]
      >>> print(alignment_loss(a, b), alignment_loss(a, b, "sum"))
      0.5 2.0
    """
    squares = jnp.square(l2_normalize(h_a) - l2_normalize(h_b))
    if reduction == "mean":
        return jnp.mean(squares)
    if reduction == "sum":
        return jnp.mean(jnp.sum(squares, axis=-1))
    raise ValueError(f"align reduction {reduction!r} is not one of {', '.join(ALIGN_REDUCTIONS)}")


def mean_alignment_loss(embeddings: Mapping[str, Float[Array, "b d"]], reduction: str = "mean") -> Float[Array, ""]:
    """Averages `alignment_loss` over the pairs of branches. For two branches this is the paper's loss.

    Args:
      embeddings: {branch: (b, d)}, two branches or more.
      reduction: See `alignment_loss`.

    Raises:
      ValueError: Fewer than two branches, or an unknown reduction.

    Example:
      >>> print(mean_alignment_loss({"a": jnp.eye(4)[:1], "b": jnp.eye(4)[1:2], "c": jnp.eye(4)[:1]}, "sum"))
      1.3333334
    """
    if len(embeddings) < 2:
        raise ValueError(f"alignment needs two or more branches, got {sorted(embeddings)}")
    pairs = combinations(sorted(embeddings), 2)
    return jnp.stack([alignment_loss(embeddings[a], embeddings[b], reduction) for a, b in pairs]).mean()


def total_loss(
    fusion: Float[Array, "b k"],
    branches: Mapping[str, Float[Array, "b k"]],
    embeddings: Mapping[str, Float[Array, "b d"]],
    stages: Sequence[Mapping[str, Float[Array, "b _"]]],
    labels: Int[Array, "b"],
    *,
    align_weight: float | Float[Array, ""],
    temperature: float | Float[Array, ""],
    label_smoothing: float | Float[Array, ""] = 0.0,
    align_reduction: str = "mean",
    class_weights: Float[Array, "k"] | None = None,
    mixture: tuple[Int[Array, "b"], Float[Array, "b"]] | None = None,
    axis_name: str | None = None,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Computes L_total of section 3.3.1: the sum of the cross-entropies + lambda (contrast + align).

    With one branch there is nothing to contrast or align, so the total is the sum of its two cross-entropies.

    Args:
      fusion: (b, k) logits of the fusion classifier.
      branches: {branch: (b, k)} logits of each branch's classifier.
      embeddings: {branch: (b, d)} h.
      stages: Per stage {branch: (b, d)} z, not normalised.
      labels: (b,) in [0, k).
      align_weight: Lambda.
      temperature: Tau.
      label_smoothing: See `cross_entropy`.
      align_reduction: See `alignment_loss`.
      class_weights: (k,) factors on the cross-entropies of the windows of each class; None for 1. A weighted
        cross-entropy is divided by the number of windows, not by the sum of their weights, so that the mean over
        devices is that of the global batch.
      mixture: For windows that are mixed with others, the labels (b,) of the others and the shares (b,) of `labels`.
        The cross-entropy is share times that of `labels` + (1 - share) times that of the others.
      axis_name: See `contrastive_loss`.

    Returns:
      () total, and its terms by name: each branch's name, `fusion`, `contrast` and `align`. The last two are not yet
      multiplied by align_weight.

    Raises:
      ValueError: An unknown align_reduction, or two or more branches without a stage.
    """

    def weighted_losses(targets: jax.Array, logits: jax.Array) -> jax.Array:
        losses = cross_entropy(logits, targets, label_smoothing)
        return losses if class_weights is None else class_weights[targets] * losses

    def classification(logits: jax.Array) -> jax.Array:
        if mixture is None:
            return weighted_losses(labels, logits).mean()
        others, shares = mixture
        mixed = shares * weighted_losses(labels, logits) + (1 - shares) * weighted_losses(others, logits)
        return mixed.mean()

    logits = {**branches, "fusion": fusion}
    terms = dict(zip(logits, jax.vmap(classification)(jnp.stack(list(logits.values()))), strict=True))
    total = sum(terms.values(), start=jnp.zeros(()))
    if len(branches) > 1:
        terms["contrast"] = multi_stage_contrastive_loss(stages, temperature, axis_name=axis_name)
        terms["align"] = mean_alignment_loss(embeddings, align_reduction)
        total = total + align_weight * (terms["contrast"] + terms["align"])
    return total, terms


def split_total(
    terms: Mapping[str, Float[Array, ""]], branches: Collection[str], align_weight: float | Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Splits the total loss into the multimodal part and the unimodal part.

    Args:
      terms: As `total_loss` returns them.
      branches: Names of the branches.
      align_weight: Lambda.

    Returns:
      The multimodal part, the fusion's cross-entropy + lambda (contrast + align); and the unimodal part, the sum of
      the branches' cross-entropies. They sum to the total.

    Example:
      >>> terms = {"res": 1.0, "dense": 2.0, "fusion": 3.0, "contrast": 4.0, "align": 5.0}
      >>> print([float(x) for x in split_total({k: jnp.float32(v) for k, v in terms.items()}, ("res", "dense"), 0.5)])
      [7.5, 3.0]
    """
    multimodal, unimodal = terms["fusion"], sum((terms[name] for name in branches), start=jnp.zeros(()))
    if len(branches) > 1:
        multimodal = multimodal + align_weight * (terms["contrast"] + terms["align"])
    return multimodal, unimodal
