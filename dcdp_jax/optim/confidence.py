"""Statistics of the branches' classifiers on a batch, which the transformations' `update` takes as keywords.

Shapes: b batch, k classes.
"""

from collections.abc import Iterable, Mapping

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
      labels: (b,) in [0, k). -1 would be read as the last class: leave windows without a label out by mask.
      axis_name: Mapped axis to sum over, so that S is that of the global batch; None for the windows given.
      mask: (b,) True for the windows that count; None for all.

    Returns:
      {branch: () S}.

    Raises:
      ValueError: The labels are not one for each window.

    Example:
      >>> logits = {"res": jnp.array([[0.0, 0.0], [0.0, 0.0]]), "dense": jnp.array([[50.0, 0.0], [0.0, 50.0]])}
      >>> print({name: float(S) for name, S in true_class_confidence(logits, jnp.array([0, 1])).items()})
      {'res': 1.0, 'dense': 2.0}
    """
    for name, z in logits.items():
        if z.ndim != 2 or labels.shape != z.shape[:1]:
            raise ValueError(
                f"labels have the shape {labels.shape} and logits[{name!r}] {z.shape}, expected (b,) and (b, k)"
            )
    weight = jnp.ones(labels.shape) if mask is None else mask.astype(jnp.float32)
    S = {
        name: jnp.sum(weight * jnp.take_along_axis(jax.nn.softmax(z), labels[:, None], axis=-1)[:, 0])
        for name, z in logits.items()
    }
    return S if axis_name is None else jax.lax.psum(S, axis_name)


def branch_accuracy(
    logits: Mapping[str, Float[Array, "b k"]], labels: Int[Array, "b"], axis_name: str | None = None
) -> dict[str, Float[Array, ""]]:
    """Computes the accuracy of each branch's own classifier, for `scale_by_cggm`.

    `axis_name` is a mapped axis to average over, with batches of equal size; None is for the windows given.

    Example:
      >>> print(float(branch_accuracy({"res": jnp.array([[2.0, 1.0], [2.0, 1.0]])}, jnp.array([0, 1]))["res"]))
      0.5
    """
    return mean_over({name: jnp.mean(z.argmax(axis=-1) == labels) for name, z in logits.items()}, axis_name)


def prediction_entropy(
    logits: Mapping[str, Float[Array, "b k"]], axis_name: str | None = None
) -> dict[str, Float[Array, ""]]:
    """Computes the mean entropy (nats) of each branch's predicted distribution, for `scale_by_arl`.

    See `branch_accuracy` for `axis_name`.

    Example:
      >>> print(round(float(prediction_entropy({"res": jnp.zeros((3, 2))})["res"]), 4))
      0.6931
    """

    def entropy(z: jax.Array) -> jax.Array:
        log_softmax = jax.nn.log_softmax(z)
        return -jnp.mean(jnp.sum(jnp.exp(log_softmax) * log_softmax, axis=-1))

    return mean_over({name: entropy(z) for name, z in logits.items()}, axis_name)


def logit_magnitude(
    logits: Mapping[str, Float[Array, "b k"]], axis_name: str | None = None
) -> dict[str, Float[Array, ""]]:
    """Computes the mean over the windows of the sum of each branch's absolute logits, for `scale_by_arl`.

    See `branch_accuracy` for `axis_name`.

    Example:
      >>> print(float(logit_magnitude({"res": jnp.array([[1.0, -2.0], [0.0, 1.0]])})["res"]))
      2.0
    """
    return mean_over({name: jnp.mean(jnp.sum(jnp.abs(z), axis=-1)) for name, z in logits.items()}, axis_name)


def mean_over(values: dict[str, jax.Array], axis_name: str | None) -> dict[str, jax.Array]:
    """Averages values over a mapped axis; with None, returns them unchanged."""
    return values if axis_name is None else jax.lax.pmean(values, axis_name)


def batch_statistics(
    keywords: Iterable[str],
    logits: Mapping[str, Float[Array, "b k"]],
    labels: Int[Array, "b"],
    axis_name: str | None = None,
) -> dict[str, dict[str, Float[Array, ""]]]:
    """Computes the statistics that the updates of transformations take, by keyword.

    Args:
      keywords: Some of `confidence`, `accuracy`, `entropy` and `magnitude`; others are ignored.
      logits: {branch: (b, k)}.
      labels: (b,) in [0, k).
      axis_name: See `true_class_confidence`.

    Returns:
      {keyword: {branch: ()}}.

    Example:
      >>> logits = {"res": jnp.array([[1.0, 0.0], [2.0, 0.0]])}
      >>> found = batch_statistics(["accuracy", "magnitude"], logits, jnp.array([0, 1]))
      >>> print({keyword: float(values["res"]) for keyword, values in found.items()})
      {'accuracy': 0.5, 'magnitude': 1.5}
    """
    compute = {
        "confidence": lambda: true_class_confidence(logits, labels, axis_name),
        "accuracy": lambda: branch_accuracy(logits, labels, axis_name),
        "entropy": lambda: prediction_entropy(logits, axis_name),
        "magnitude": lambda: logit_magnitude(logits, axis_name),
    }
    return {keyword: compute[keyword]() for keyword in keywords if keyword in compute}
