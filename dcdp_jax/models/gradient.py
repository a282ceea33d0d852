"""Acting on a gradient where it flows through an activation."""

import jax


@jax.custom_vjp
def scale_gradient(x: jax.Array, factor: jax.Array) -> jax.Array:
    """Returns x; what flows back through it is multiplied by a () factor, which gets no gradient.

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
    """Returns x; the gradient that flows back through it is computed once and kept.

    Where an activation has many uses, XLA may otherwise add up the gradients of all of them anew in every operation
    that needs the sum.
    """
    return x


sum_gradient_once.defvjp(lambda x: (x, None), lambda _, gradient: (jax.lax.optimization_barrier(gradient),))
