"""MMPareto: combines the gradients of the multimodal and the unimodal losses so that it opposes neither.

Wei and Hu 2024, MMPareto: boosting multimodal learning with innocent unimodal assistance.
https://arxiv.org/abs/2405.17730, as https://github.com/GeWu-Lab/MMPareto_ICML2024 computes it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dcdp_jax.optim.branches import Labels, branch_names, is_none, label_tree, single_or_better


def min_norm_weight(multimodal: Any, unimodal: Any) -> jax.Array:
    """Computes the weight w of the multimodal gradient; the unimodal one has 1 - w.

    Args:
      multimodal: Gradient of the multimodal loss for one branch, any pytree.
      unimodal: Gradient of the unimodal loss, the same pytree.

    Returns:
      () w: 0.5 if the inner product of the two is not negative; else argmin_w ||w multimodal + (1 - w) unimodal||, the
      weight of the combination with the smallest norm.

    Example:
      >>> print(min_norm_weight(jnp.array([2.0, 0.0]), jnp.array([-1.0, 1.0])))
      0.4
    """
    dot = inner_product(multimodal, unimodal)
    squares = inner_product(multimodal, multimodal), inner_product(unimodal, unimodal)
    conflict = dot < 0
    # The squared distance between the two is positive where they conflict.
    distance = jnp.where(conflict, squares[0] + squares[1] - 2 * dot, 1)
    return jnp.where(conflict, (squares[1] - dot) / distance, 0.5)


class CombineByMMParetoState(NamedTuple):
    """State of `combine_by_mmpareto`.

    Attributes:
      weights: {branch: () weight of the multimodal gradient in the last update}; 0.5 before the first update and
        without a conflict.
    """

    weights: dict[str, jax.Array]


def combine_by_mmpareto(labels: Labels, rescale: float | jax.Array = 1.5) -> optax.GradientTransformationExtraArgs:
    """Combines the gradient of the multimodal loss with that of the unimodal losses, as MMPareto does.

    For each branch h = 2 (w g + (1 - w) u), where g is its multimodal gradient, u its unimodal gradient and w the
    `min_norm_weight` over all of its arrays. If w is not 0.5, h is shorter than g + u. Every array of h that is shorter
    than that of g + u is scaled up to its norm; none is scaled down. The result is multiplied by rescale. Parameters
    without a branch get g + u.

    The two gradients take two backward passes: one of the fusion's loss and one of the sum of the branches' own
    losses. The published method leaves the classifiers out; to do so, label them None. If gradients are accumulated
    over several batches, for example by `optax.MultiSteps`, combine before that.

    Args:
      labels: See `scale_by_cgm`.
      rescale: Gamma of the paper.

    Returns:
      A transformation of multimodal gradients whose `update` requires the keyword `unimodal`, gradients like them.
      An array in which the two cancel exactly stays 0, because it has no direction to scale.

    Raises:
      ValueError: From `update`: `unimodal` is missing, or has other arrays than the updates.

    Example:
      >>> params = {"res": jnp.ones(2), "dense": jnp.ones(2)}
      >>> tx = combine_by_mmpareto({"res": "res", "dense": "dense"})
      >>> multimodal = {"res": jnp.array([2.0, 0.0]), "dense": jnp.array([1.0, 0.0])}
      >>> unimodal = {"res": jnp.array([-1.0, 1.0]), "dense": jnp.array([0.0, 1.0])}
      >>> updates, state = tx.update(multimodal, tx.init(params), unimodal=unimodal)
      >>> print({name: [round(float(x), 3) for x in u] for name, u in updates.items()})
      {'dense': [1.5, 1.5], 'res': [0.671, 2.012]}
    """

    def init(params: optax.Params) -> CombineByMMParetoState:
        names = branch_names(label_tree(labels, params))
        return CombineByMMParetoState({name: jnp.full((), 0.5, jnp.float32) for name in names})

    def update(
        updates: optax.Updates,
        state: CombineByMMParetoState,
        params: optax.Params | None = None,
        *,
        unimodal: optax.Updates | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, CombineByMMParetoState]:
        del params, extra
        if unimodal is None:
            raise ValueError("combine_by_mmpareto: update() needs the keyword unimodal, gradients like the updates")
        tree = label_tree(labels, updates)
        try:
            unimodal = masked_like(updates, unimodal)
            shapes = [[jnp.shape(x) for x in jax.tree.leaves(gradients)] for gradients in (unimodal, updates)]
            if shapes[0] != shapes[1]:
                raise ValueError(f"it has arrays of the shapes {shapes[0]}, expected {shapes[1]}")
        except ValueError as error:
            raise ValueError(f"combine_by_mmpareto: unimodal is not like the updates: {error}") from None
        weights = {
            name: min_norm_weight(of_branch(tree, updates, name), of_branch(tree, unimodal, name))
            for name in state.weights
        }

        def combine(label: str | None, multimodal: Any, unimodal: Any) -> Any:
            if label is None:
                return jax.tree.map(jnp.add, multimodal, unimodal)
            return jax.tree.map(lambda g, u: rescale * integrated(g, u, weights[label]), multimodal, unimodal)

        combined = jax.tree.map(combine, tree, updates, unimodal, is_leaf=is_none)
        return combined, CombineByMMParetoState({name: w.astype(jnp.float32) for name, w in weights.items()})

    return optax.GradientTransformationExtraArgs(init, update)


def inner_product(a: Any, b: Any) -> jax.Array:
    """Computes the inner product of two pytrees, its real part for complex arrays, in single precision or better."""

    def product(x: jax.Array, y: jax.Array) -> jax.Array:
        if jnp.iscomplexobj(x):
            return product(x.real, y.real) + product(x.imag, y.imag)
        return jnp.sum(single_or_better(x) * single_or_better(y))

    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return sum((product(x, y) for x, y in pairs), start=jnp.zeros(()))


def of_branch(labels: Any, tree: Any, name: str) -> list[Any]:
    """Returns the subtrees of one branch."""
    found: list[Any] = []
    jax.tree.map(lambda label, x: found.append(x) if label == name else None, labels, tree, is_leaf=is_none)
    return found


def masked_like(updates: Any, tree: Any) -> Any:
    """Returns a tree without the subtrees that `optax.masked` or `optax.partition` removed from the updates."""

    def is_masked(x: Any) -> bool:
        return isinstance(x, optax.MaskedNode)

    return jax.tree.map(lambda u, x: u if is_masked(u) else x, updates, tree, is_leaf=is_masked)


def integrated(g: jax.Array, u: jax.Array, weight: jax.Array) -> jax.Array:
    """Computes h = 2 (w g + (1 - w) u), scaled up to the norm of g + u if it is shorter."""
    w = weight.astype(g.dtype)
    h = 2 * (w * g + (1 - w) * u)
    length, wanted = optax.tree.norm(h), optax.tree.norm(g + u)
    return h * jnp.where(length > 0, jnp.maximum(wanted / jnp.where(length > 0, length, 1), 1), 1).astype(g.dtype)
