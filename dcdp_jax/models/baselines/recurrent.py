"""LSTM and GRU layers. What does not depend on the previous step is computed for all steps before the loop."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

glorot_uniform = nn.initializers.glorot_uniform()


def orthogonal_gates(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Returns an (h, gates * h) recurrent kernel in which the kernel of every gate is orthogonal."""
    units, columns = shape
    keys = jax.random.split(key, columns // units)
    return jnp.concatenate([nn.initializers.orthogonal()(key, (units, units)) for key in keys], axis=1)


def over_time(step: Callable, start: jax.Array | tuple[jax.Array, ...], inputs: jax.Array) -> jax.Array:
    """Returns the outputs (b, t, h) of step(carry, (b, features)) -> (carry, (b, h)) over inputs (b, t, features)."""
    return jax.lax.scan(step, start, inputs.swapaxes(0, 1))[1].swapaxes(0, 1)


class LSTM(nn.Module):
    """Long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000).

    Parameters: `input_kernel` (c, 4 h), `recurrent_kernel` (h, 4 h) and `bias` (4 h), gates in the order input, forget,
    cell, output as in PyTorch, whose two biases are one here. The forget gate's bias starts at 1.
    """

    units: int  # h

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (b, t, c) to (b, t, h)."""
        units = self.units
        input_kernel = self.param("input_kernel", glorot_uniform, (x.shape[-1], 4 * units))
        recurrent_kernel = self.param("recurrent_kernel", orthogonal_gates, (units, 4 * units))
        bias = self.param("bias", lambda key: jnp.zeros(4 * units).at[units : 2 * units].set(1))

        def step(carry: tuple[jax.Array, jax.Array], from_input: jax.Array) -> tuple:
            h, cell = carry
            i, f, g, o = jnp.split(from_input + h @ recurrent_kernel, 4, axis=-1)
            cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(cell)
            return (h, cell), h

        zeros = jnp.zeros((x.shape[0], units), x.dtype)
        return over_time(step, (zeros, zeros), x @ input_kernel + bias)


class GRU(nn.Module):
    """Gated recurrent unit (Cho et al. 2014), with its reset gate after the recurrent product, as in PyTorch and Keras.

    Parameters: `input_kernel` (c, 3 h), `recurrent_kernel` (h, 3 h), `bias` (3 h), gates in the order reset, update,
    new, and `new_bias` (h), which the reset gate scales. PyTorch's two biases of the reset gate,
    and of the update gate, are one here.
    """

    units: int  # h

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (b, t, c) to (b, t, h)."""
        units = self.units
        input_kernel = self.param("input_kernel", glorot_uniform, (x.shape[-1], 3 * units))
        recurrent_kernel = self.param("recurrent_kernel", orthogonal_gates, (units, 3 * units))
        bias = self.param("bias", nn.initializers.zeros, (3 * units,))
        new_bias = self.param("new_bias", nn.initializers.zeros, (units,))

        def step(h: jax.Array, from_input: jax.Array) -> tuple[jax.Array, jax.Array]:
            input_reset, input_update, input_new = jnp.split(from_input, 3, axis=-1)
            reset, update, new = jnp.split(h @ recurrent_kernel, 3, axis=-1)
            reset = jax.nn.sigmoid(input_reset + reset)
            update = jax.nn.sigmoid(input_update + update)
            new = jnp.tanh(input_new + reset * (new + new_bias))
            h = (1 - update) * new + update * h
            return h, h

        return over_time(step, jnp.zeros((x.shape[0], units), x.dtype), x @ input_kernel + bias)
