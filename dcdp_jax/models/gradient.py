"""Functions that change a gradient as it flows through an activation."""

import jax


@jax.custom_vjp
def scale_gradient(x: jax.Array, factor: jax.Array) -> jax.Array:
    """Returns x and multiplies the gradient that flows back through it by a () factor. The factor gets no gradient.

    Example:
      >>> import jax.numpy as jnp
      >>> float(jax.grad(lambda x: scale_gradient(x, jnp.array(0.5)) ** 2)(jnp.array(3.0)))
      3.0
    """
    del factor
    return x


def _forward(x: jax.Array, factor: jax.Array) -> tuple[jax.Array, jax.Array]:
    return x, factor


def _backward(factor: jax.Array, gradient: jax.Array) -> tuple[jax.Array, None]:
    return gradient * factor, None


scale_gradient.defvjp(_forward, _backward)


@jax.custom_vjp
def sum_gradient_once(x: jax.Array) -> jax.Array:
    """Returns x, and makes XLA compute the gradient that flows back through it once.

    If an activation has many uses, XLA may otherwise recompute the sum of their gradients in every operation that
    needs it.
    """
    return x


sum_gradient_once.defvjp(lambda x: (x, None), lambda _, gradient: (jax.lax.optimization_barrier(gradient),))
