"""Gives a network its channels also after instance normalisation, and the size that this takes away."""

import jax
import jax.numpy as jnp

# Added to the variance of a channel that has variance 1 over the training set: a thousandth of its standard deviation.
EPS = 1e-6


def with_instance_norm(x: jax.Array) -> jax.Array:
    """Appends each channel standardised within its window, and the logarithm of its standard deviation there.

    The former is instance normalisation (Ulyanov, Vedaldi and Lempitsky 2016, "Instance Normalization: The Missing
    Ingredient for Fast Stylization") without learnt factors; the latter is not part of it.

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
    variance = jnp.var(x, axis=1, keepdims=True)
    log_std = jnp.broadcast_to(0.5 * jnp.log(variance + EPS), x.shape)
    return jnp.concatenate([x, jax.nn.standardize(x, axis=1, variance=variance, epsilon=EPS), log_std], axis=-1)
