"""Instance normalisation of a network's input: each channel also as its shape and its size within the window."""

import jax
import jax.numpy as jnp

# Added to the variance of a channel that has variance 1 over the training set: a thousandth of its standard deviation.
EPS = 1e-6


def with_instance_norm(x: jax.Array) -> jax.Array:
    """Appends each channel standardised within its window, and the logarithm of its standard deviation there.

    Movements far smaller than those of walking, as between sitting and standing, are next to nothing in channels that
    are normalised over the training set. Here they have the size of all others, and the logarithm says which size
    they had.

    Args:
      x: (b, t, c) normalised windows.

    Returns:
      (b, t, 3 c): x, (x - mean) / std, and log(std), the same at every sample, with std^2 = var(x) + 1e-6 over time.

    Example:
      >>> window = jnp.array([[[0.0], [2.0], [0.0], [2.0]]])
      >>> print(with_instance_norm(window)[0, :2].round(3))
      [[ 0. -1.  0.]
       [ 2.  1.  0.]]
    """
    variance = jnp.var(x, axis=1, keepdims=True) + EPS
    shape = (x - jnp.mean(x, axis=1, keepdims=True)) * jax.lax.rsqrt(variance)
    return jnp.concatenate([x, shape, jnp.broadcast_to(0.5 * jnp.log(variance), x.shape)], axis=-1)
