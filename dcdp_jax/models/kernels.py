"""Initial kernels: normal with variance 2 / fan-in, truncated at two standard deviations (He et al. 2015)."""

import math
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import numpy as np

he_normal = nn.initializers.he_normal()
Dense = partial(nn.Dense, kernel_init=he_normal)

# Standard deviation of a standard normal truncated at -2 and 2.
TRUNCATED_STD = 0.87962566103423978


def draw_kernels(params: Any, key: jax.Array) -> Any:
    """Draws all kernels of a network at once, from the shapes that `jax.eval_shape` gives for its `init`.

    The initialisers of a hundred layers are a hundred random number generators, which take XLA longer to compile than
    the network; benchmarks/RESULTS.md has the figures.

    Returns:
      The same tree with a (..., fan-in, out) NumPy array, distributed as by `he_normal`, for every parameter named
      `kernel`; None for all others.
    """
    paths = jax.tree_util.tree_leaves_with_path(params)
    sizes = [math.prod(leaf.shape) if is_kernel(path) else 0 for path, leaf in paths]
    drawn = np.asarray(jax.random.truncated_normal(key, -2, 2, (sum(sizes),))) / np.float32(TRUNCATED_STD)
    pieces = np.split(drawn, np.cumsum(sizes)[:-1])

    def scaled(path: Any, leaf: Any, piece: np.ndarray) -> np.ndarray | None:
        if not is_kernel(path):
            return None
        return piece.reshape(leaf.shape) * np.float32(math.sqrt(2 / math.prod(leaf.shape[:-1])))

    found = [scaled(path, leaf, piece) for (path, leaf), piece in zip(paths, pieces, strict=True)]
    return jax.tree.unflatten(jax.tree.structure(params), found)


def parameter(module: nn.Module, name: str, initializer: Any, shape: tuple[int, ...]) -> jax.Array:
    """Returns a parameter of a module, and initialises it if the module does not have it yet.

    Unlike Flax's `module.param` it does not check the shape: the check traces the initializer at every call, which
    takes a fifth of the time to trace a training step.
    """
    if module.has_variable("params", name):
        return module.get_variable("params", name)
    return module.param(name, initializer, shape)


def is_kernel(path: Any) -> bool:
    """Returns whether a path into the parameters ends in `kernel`."""
    return bool(path[-1].key == "kernel")
