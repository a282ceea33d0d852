"""Variables without the time that compiling an initialisation takes."""

import jax
import jax.numpy as jnp
import numpy as np


def random_variables(module, *arguments):
    """Every parameter and statistic random, also those that start at zero or one; variances are positive."""
    rng = np.random.default_rng(1)

    def draw(path, leaf):
        values = rng.normal(size=leaf.shape)
        if path[-1].key in ("var", "scale"):
            values = 0.5 + np.abs(values)
        elif path[-1].key == "kernel":
            values /= np.sqrt(np.prod(leaf.shape[:-1]))
        return jnp.asarray(values, jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, jax.eval_shape(lambda: module.init(jax.random.key(0), *arguments)))
