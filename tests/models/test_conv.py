"""Convolution and batch normalisation against the library and against NumPy in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcdp_jax.models.batch_norm import BatchNorm
from dcdp_jax.models.conv import (
    Conv1D,
    convolution,
    convolution_as_products,
    gradients_as_products,
    library_convolution,
    library_gradients,
)

pytestmark = pytest.mark.usefixtures("strict_types")


def result_and_gradients(form, stride, x, kernel, gradient):
    """Returns a convolution's result, and the gradients of windows and kernel for a gradient of the result."""
    result, pull = jax.vjp(lambda x, k: form(x, k, stride), x, kernel)
    return result, *pull(gradient)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("taps", [1, 2, 3, 5, 7, 31])
def test_both_forms_agree_in_values_and_gradients(taps, stride):
    rng = np.random.default_rng(taps)
    kernel = jnp.asarray(rng.normal(size=(taps, 5, 4)), jnp.float32)
    # A program of its own for each, so that XLA cannot compute once what both have in common.
    library, ours = (
        jax.jit(functools.partial(result_and_gradients, form, stride)) for form in (library_convolution, convolution)
    )
    for t in (1, 8, 9, 33):
        x = jnp.asarray(rng.normal(size=(3, t, 5)), jnp.float32)
        g = jnp.asarray(rng.normal(size=(3, -(-t // stride), 4)), jnp.float32)
        wanted, found = library(x, kernel, g), ours(x, kernel, g)
        np.testing.assert_array_equal(found[0], wanted[0])
        products = jax.jit(convolution_as_products, static_argnums=2)(x, kernel, stride)
        for a, b in zip((products, *found[1:]), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * float(jnp.abs(b).max()))


@pytest.mark.parametrize("taps", [1, 2, 3, 7])
def test_products_for_a_gpu_are_the_same_gradients(taps):
    rng = np.random.default_rng(taps)
    arrays = [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((3, 9, 5), (taps, 5, 4), (3, 9, 4))]
    found = gradients_as_products(*arrays, stride=1, for_gpu=True)
    for a, b in zip(found, library_gradients(*arrays, stride=1), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * float(jnp.abs(b).max()))


@pytest.mark.parametrize(("taps", "stride"), [(3, 1), (3, 2), (7, 1), (1, 2)])
def test_convolution_against_numpy(taps, stride):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 9, 3))
    module = Conv1D(4, taps, stride)
    variables = module.init(jax.random.key(0), jnp.asarray(x, jnp.float32))
    kernel = np.asarray(variables["params"]["kernel"], np.float64)
    t_out = -(-9 // stride)
    total = max((t_out - 1) * stride + taps - 9, 0)
    padded = np.pad(x, ((0, 0), (total // 2, total - total // 2), (0, 0)))
    wanted = np.stack(
        [np.einsum("bkc,kco->bo", padded[:, i * stride : i * stride + taps], kernel) for i in range(t_out)], axis=1
    )
    found = jax.jit(module.apply)(variables, jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_convolution_works_under_vmap():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(4, 2, 8, 3)), jnp.float32)
    kernels = jnp.asarray(rng.normal(size=(4, 3, 3, 5)), jnp.float32)

    def loss(kernel, x):
        return jnp.sum(convolution(x, kernel, 2) ** 2)

    found = jax.vmap(jax.grad(loss))(kernels, x)
    wanted = jnp.stack([jax.grad(loss)(kernel, row) for kernel, row in zip(kernels, x, strict=True)])
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-4)


def test_several_kernels_at_once_are_products():
    """A grouped convolution would be slow."""
    x, kernels = jnp.ones((4, 2, 8, 3)), jnp.ones((4, 3, 3, 5))

    def loss(kernel, x):
        return jnp.sum(convolution(x, kernel, 2) ** 2)

    for platform in ("cpu", "cuda"):
        several = jax.jit(jax.vmap(jax.grad(loss, (0, 1)))).trace(kernels, x).lower(lowering_platforms=(platform,))
        assert "stablehlo.convolution" not in several.as_text()
        assert "stablehlo.dot_general" in several.as_text()
        one = jax.jit(jax.grad(loss, (0, 1))).trace(kernels[0], x[0]).lower(lowering_platforms=(platform,))
        assert "stablehlo.convolution" in one.as_text()


@pytest.mark.parametrize("devices", [1, 7, 8])
def test_batch_norm_uses_the_global_batch(devices):
    rng = np.random.default_rng(0)
    x = rng.normal(2, 3, size=(56, 5, 4))
    module = BatchNorm("data" if devices > 1 else None)
    variables = module.init(jax.random.key(0), jnp.zeros((1, 5, 4)), True)
    mean, variance = x.mean(axis=(0, 1)), x.var(axis=(0, 1))
    wanted = (x - mean) / np.sqrt(variance + 1e-5)

    def apply(x):
        return module.apply(variables, x, True, mutable=["batch_stats"])

    x32 = jnp.asarray(x, jnp.float32)
    if devices > 1:
        split = x32.reshape(devices, -1, 5, 4)
        found, updated = jax.pmap(apply, axis_name="data", devices=jax.devices()[:devices], out_axes=(0, None))(split)
    else:
        found, updated = apply(x32)
    np.testing.assert_allclose(found.reshape(x.shape), wanted, rtol=1e-4, atol=1e-5)
    (running,) = updated["batch_stats"].values()
    np.testing.assert_allclose(running["mean"], 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(running["var"], 0.9 + 0.1 * variance, rtol=1e-5)


def test_batch_norm_evaluates_with_running_statistics():
    module = BatchNorm()
    x = jnp.arange(12.0).reshape(3, 4)
    variables = module.init(jax.random.key(0), x, False)
    np.testing.assert_allclose(module.apply(variables, x, False), x / np.sqrt(1 + 1e-5), rtol=1e-6)
