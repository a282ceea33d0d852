"""Label trees, which assign parameters to branches, and the numbers per branch that an update takes."""

from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

# A pytree prefix of the parameters, or a callable that makes one from them; see `scale_by_cgm`.
Labels = Any | Callable[[Any], Any]
S = TypeVar("S", bound=Any)


def is_none(x: Any) -> bool:
    """Returns whether x is None. As `is_leaf`, it makes a tree map treat the label None as a leaf."""
    return x is None


def label_tree(labels: Labels, tree: Any) -> Any:
    """Returns the label tree: `labels(tree)` if labels are callable, else the labels themselves.

    Raises:
      ValueError: The label tree is not a pytree prefix of the tree. A tree without arrays fits any labels, because
        `optax.tree.map_params` initialises transformations with one.
    """
    found = labels(tree) if callable(labels) else labels
    if jax.tree.leaves(tree):
        # JAX takes None for a subtree, and would name it instead of the one that does not fit.
        leaves = jax.tree.map(str, found, is_leaf=is_none)
        try:
            jax.tree.map(lambda label, subtree: None, leaves, tree)
        except ValueError as error:
            raise ValueError(
                f"labels={found!r} do not fit the parameters, expected a branch name or None for each subtree: "
                + " ".join(str(error).split())
            ) from None
    return found


def branch_names(labels: Any) -> list[str]:
    """Returns the distinct branch names in a label tree, sorted."""
    return sorted(set(jax.tree.leaves(labels)))


def scale_branches(labels: Any, updates: Any, coefficients: Mapping[str, jax.Array]) -> Any:
    """Multiplies each branch's subtree by its coefficient and keeps the dtypes, but for integers, which become floats.

    Args:
      labels: A label tree of the updates, see `label_tree`.
      updates: Any pytree.
      coefficients: {branch: ()}.

    Returns:
      The scaled updates.

    Example:
      >>> updates = {"a": 2.0 * jnp.ones(1), "b": jnp.ones(1)}
      >>> print(scale_branches({"a": "a", "b": None}, updates, {"a": jnp.array(3.0)}))
      {'a': Array([6.], dtype=float32), 'b': Array([1.], dtype=float32)}
    """

    def scale(label: str | None, subtree: Any) -> Any:
        return subtree if label is None else jax.tree.map(lambda u: scale_array(u, coefficients[label]), subtree)

    return jax.tree.map(scale, labels, updates, is_leaf=is_none)


def scale_array(u: jax.Array, coefficient: jax.Array) -> jax.Array:
    """Multiplies an array by a coefficient in the array's dtype, in the coefficient's if the array holds integers."""
    if not jnp.issubdtype(u.dtype, jnp.inexact):
        u = u.astype(coefficient.dtype)
    return u * coefficient.astype(u.dtype)


def single_or_better(x: ArrayLike) -> jax.Array:
    """Converts a number or an array to a floating-point array of 32 bits or more."""
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating) or jnp.finfo(x.dtype).bits < 32:
        return x.astype(jnp.float32)
    return x


def as_float32(coefficients: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Converts coefficients to float32, the dtype of those in an optimiser state."""
    return {name: M.astype(jnp.float32) for name, M in coefficients.items()}


def ones(names: list[str]) -> dict[str, jax.Array]:
    """Returns the coefficients of a state before its first update: {branch: 1}."""
    return {name: jnp.ones((), jnp.float32) for name in names}


def numbers_per_branch(given: Mapping[str, ArrayLike], keyword: str = "confidence") -> dict[str, jax.Array]:
    """Converts one number per branch, an array or a Python or NumPy number, to float32 or higher precision.

    Raises:
      ValueError: A value is not a scalar, for example because probabilities per window were not summed.
    """
    for name, value in given.items():
        if jnp.ndim(value) != 0:
            raise ValueError(
                f"{keyword}[{name!r}] has shape {jnp.shape(value)}, expected (): one number for the whole batch, as "
                "dcdp_jax.optim.true_class_confidence gives it"
            )
    return {name: single_or_better(value) for name, value in given.items()}


def checked_branches(name: str, keyword: str, given: Any, expected: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Checks the numbers of an update's keyword, such as `confidence`, and converts them to float32 or better.

    Raises:
      ValueError: The keyword is missing or no mapping, its branches are not those expected, or a value is not a scalar.
    """
    if given is None:
        raise ValueError(f"{name}: update() needs the keyword {keyword}={{branch: ()}}")
    if not isinstance(given, Mapping):
        raise ValueError(f"{name}: {keyword} is of the type {type(given).__name__}, expected {{branch: ()}}")
    if sorted(given) != sorted(expected):
        raise ValueError(f"{name}: {keyword} has branches {sorted(given)}, the labels have {sorted(expected)}")
    return numbers_per_branch(given, keyword)


def scale_by_coefficients(
    name: str, labels: Labels, keywords: Sequence[str], begin: Callable[[list[str]], S], step: Callable[..., S]
) -> optax.GradientTransformationExtraArgs:
    """Makes a transformation that scales each branch's subtree by the `coefficients` of its state.

    Args:
      name: Name of the transformation, for error messages.
      labels: See `scale_by_cgm`.
      keywords: Keywords of its update, each {branch: ()}; see `checked_branches`.
      begin: Function from the names of the branches to the initial state.
      step: Function from the state and the value of each keyword to the state with the coefficients of this update.

    Returns:
      A transformation whose `update` requires the keywords and ignores others.
    """

    def init(params: optax.Params) -> S:
        return begin(branch_names(label_tree(labels, params)))

    def update(
        updates: optax.Updates, state: S, params: optax.Params | None = None, **extra: Any
    ) -> tuple[optax.Updates, S]:
        del params
        given = [checked_branches(name, keyword, extra.get(keyword), state.coefficients) for keyword in keywords]
        state = step(state, *given)
        return scale_branches(label_tree(labels, updates), updates, state.coefficients), state

    return optax.GradientTransformationExtraArgs(init, update)


def is_known(value: Any) -> bool:
    """Returns whether a value is a concrete number, not a schedule or a traced array."""
    return isinstance(value, Real | np.ndarray | jax.Array) and not isinstance(value, jax.core.Tracer)


def is_zero(value: Any) -> bool:
    """Returns whether a value is a concrete 0, which may switch a part off. A traced number never is."""
    return is_known(value) and bool(value == 0)


def not_negative(name: str, value: Any) -> Any:
    """Checks that a strength, such as alpha, is 0 or more, and returns it. A schedule or traced array is not checked.

    Raises:
      ValueError: It is not a number, not finite, negative, or an array of several numbers.
    """
    if callable(value) or isinstance(value, jax.core.Tracer):
        return value
    if not (is_known(value) and jnp.ndim(value) == 0 and 0 <= value < jnp.inf):
        raise ValueError(f"{name}={value!r} is negative or not a number, expected 0 or more")
    return value


def as_key_data(key: ArrayLike) -> jax.Array:
    """Converts a random key to its raw data, which a checkpoint can hold.

    Args:
      key: An integer seed, a key of `jax.random.key`, or the raw data of one.
    """
    key = jnp.asarray(key)
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return jax.random.key_data(key)
    return jax.random.key_data(jax.random.key(key)) if key.ndim == 0 else key
