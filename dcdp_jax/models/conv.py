"""1-D convolution in the forms that are fast on each platform."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from dcdp_jax.models.kernels import he_normal, parameter


def library_convolution(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolves (b, t, c_in) with (k, c_in, c_out) by XLA, to (b, ceil(t / stride), c_out)."""
    return lax.conv_general_dilated(x, kernel, (stride,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))


def pointwise(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Computes `library_convolution` with stride 1 for a kernel (1, c_in, c_out) as a matrix product."""
    return x @ kernel[0]


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolution(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Computes `library_convolution` in the form that is fast in training; all forms are the same function.

    Its gradients are `gradients_by_platform`. For several kernels at once, both passes are matrix products; see
    `by_kernels`. benchmarks/RESULTS.md has the figures.
    """
    return library_convolution(x, kernel, stride)


@partial(jax.jit, static_argnums=(2,))
def _forward(x: jax.Array, kernel: jax.Array, stride: int) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return by_kernels(library_convolution, convolution_as_products, stride)(x, kernel), (x, kernel)


@partial(jax.jit, static_argnums=(0,))
def _backward(stride: int, saved: tuple[jax.Array, jax.Array], g: jax.Array) -> tuple[jax.Array, jax.Array]:
    return by_kernels(gradients_by_platform, gradients_as_products, stride)(*saved, g)


@cache
def by_kernels(alone: Callable[..., Any], mapped: Callable[..., Any], stride: int) -> Callable[..., Any]:
    """Uses one form for one kernel, and another for several under `jax.vmap`, as for several seeds at once.

    Under `jax.vmap` XLA's convolution becomes a grouped convolution, which has no fast path on CPU;
    benchmarks/RESULTS.md has the figures. Both forms are the same function of (x, kernel, ..., stride).

    Returns:
      A function of (x, kernel, ...) for the two passes of training only: evaluation does not need it, and exporters do
      not know its primitive.
    """
    form = jax.custom_batching.custom_vmap(partial(alone, stride=stride))

    @form.def_vmap
    def rule(size: int, is_mapped: list[bool], *arrays: jax.Array) -> tuple[Any, Any]:
        del size
        chosen = partial(mapped if is_mapped[1] else alone, stride=stride)
        found = jax.vmap(chosen, in_axes=tuple(0 if one else None for one in is_mapped))(*arrays)
        return found, jax.tree.map(lambda _: True, found)

    return form


def gradients_by_platform(x: jax.Array, kernel: jax.Array, g: jax.Array, stride: int) -> tuple[jax.Array, jax.Array]:
    """Computes the gradients of `library_convolution`, for stride 1 as matrix products on CPU and NVIDIA GPUs.

    The form is chosen by the platform that a program is lowered for. benchmarks/RESULTS.md has the
    figures.
    """
    library = partial(library_gradients, stride=stride)
    # With a stride, the products would also multiply the zeros between the output gradients.
    products = partial(gradients_as_products, stride=stride) if stride == 1 else library
    products_for_gpu = partial(products, for_gpu=True) if stride == 1 else library
    return lax.platform_dependent(x, kernel, g, cpu=products, cuda=products_for_gpu, default=library)


def convolution_as_products(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Computes `library_convolution` as one matrix product of the unfolded input."""
    taps, c_in, c_out = kernel.shape
    t_out = -(-x.shape[1] // stride)
    spread = (t_out - 1) * stride + 1
    missing = max(spread + taps - 1 - x.shape[1], 0)
    padded = jnp.pad(x, ((0, 0), (missing // 2, missing - missing // 2), (0, 0)))
    unfolded = jnp.concatenate([padded[:, i : i + spread : stride] for i in range(taps)], axis=-1)
    return jnp.einsum("btf,fo->bto", unfolded, kernel.reshape(taps * c_in, c_out))


def library_gradients(x: jax.Array, kernel: jax.Array, g: jax.Array, stride: int) -> tuple[jax.Array, jax.Array]:
    """Computes the gradients of `library_convolution` with respect to x and kernel by XLA."""
    _, pull_back = jax.vjp(partial(library_convolution, stride=stride), x, kernel)
    return pull_back(g)


def gradients_as_products(
    x: jax.Array, kernel: jax.Array, g: jax.Array, stride: int, for_gpu: bool = False
) -> tuple[jax.Array, jax.Array]:
    """Computes the gradients of `library_convolution` with respect to x and kernel as matrix products.

    On a GPU, XLA keeps a kernel in the order in which the library's convolution reads it: output channels, taps, input
    channels. With for_gpu the products read and write kernels in this order, so that none is transposed.
    """
    taps, c_in, c_out = kernel.shape
    t = x.shape[1]
    spread = (g.shape[1] - 1) * stride + 1
    before = max(spread - 1 + taps - t, 0) // 2
    # The barriers keep XLA from recomputing the unfolded array inside both products. On a GPU, the operation that makes
    # g may join the kernel that unfolds it.
    x, g = (lax.optimization_barrier(x), g) if for_gpu else lax.optimization_barrier((x, g))
    padding = ((0, 0, 0), (taps - 1 - before, t + before - spread, stride - 1), (0, 0, 0))
    padded = lax.pad(g, jnp.zeros((), g.dtype), padding)
    shifted = [padded[:, taps - 1 - i : taps - 1 - i + t] for i in range(taps)]
    if for_gpu:
        unfolded = lax.optimization_barrier(jnp.stack(shifted, axis=-1).reshape(*x.shape[:2], -1))
        d_x = jnp.einsum("btf,fc->btc", unfolded, kernel.transpose(2, 0, 1).reshape(c_out * taps, c_in))
        d_kernel = jnp.einsum("btf,btc->fc", unfolded, x).reshape(c_out, taps, c_in).transpose(1, 2, 0)
        return d_x, d_kernel
    unfolded = lax.optimization_barrier(jnp.concatenate(shifted, axis=-1))
    d_kernel = jnp.einsum("btc,btf->cf", x, unfolded).reshape(c_in, taps, c_out).transpose(1, 0, 2)
    d_x = jnp.einsum("btf,cf->btc", unfolded, kernel.transpose(1, 0, 2).reshape(c_in, taps * c_out))
    return d_x, d_kernel


convolution.defvjp(_forward, _backward)


class Conv1D(nn.Module):
    """Convolution over time with zero padding such that t_out = ceil(t / stride)."""

    features: int  # output channels
    kernel: int  # taps
    stride: int = 1  # step over time
    bias: bool = False  # whether a bias is added; batch normalisation has its own

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (b, t, c) to (b, ceil(t / stride), features)."""
        kernel = parameter(self, "kernel", he_normal, (self.kernel, x.shape[-1], self.features))
        # With a stride the product would read a slice, and XLA (jax 0.11) aborts when it fuses the two for a GPU.
        is_product = self.kernel == 1 and self.stride == 1
        h = pointwise(x, kernel) if is_product else convolution(x, kernel, self.stride)
        return h + parameter(self, "bias", nn.initializers.zeros, (self.features,)) if self.bias else h
