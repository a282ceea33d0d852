"""Batch normalisation against Flax's and against NumPy in float64."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcdp_jax.models.batch_norm import BatchNorm, sums_together

pytestmark = pytest.mark.usefixtures("strict_types")


class FlaxBatchNorm(nn.Module):
    """The reference, with its arrays where `BatchNorm` has them."""

    axis_name: str | None = None
    relu: bool = False

    @nn.compact
    def __call__(self, x, train):
        y = nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5, axis_name=self.axis_name)(x)
        return nn.relu(y) if self.relu else y


def variables_of(rng, channels):
    draw = {name: jnp.asarray(rng.normal(size=channels), jnp.float32) for name in ("scale", "bias", "mean")}
    return {
        "params": {"BatchNorm_0": {"scale": draw["scale"], "bias": draw["bias"]}},
        "batch_stats": {"BatchNorm_0": {"mean": draw["mean"], "var": jnp.exp(draw["mean"])}},
    }


def results(module, variables, x, weights, devices):
    """Values, running statistics, and the mean over the devices of the gradients of a weighted sum."""

    def loss(params, x, weights):
        y, updated = module.apply({**variables, "params": params}, x, True, mutable=["batch_stats"])
        return jnp.sum(weights * y * y), (y, updated)

    def step(x, weights):
        (_, (y, updated)), (d_params, d_x) = jax.value_and_grad(loss, (0, 1), has_aux=True)(
            variables["params"], x, weights
        )
        return y, d_x, updated, jax.lax.pmean(d_params, "data") if devices > 1 else d_params

    if devices == 1:
        return jax.jit(step)(x, weights)
    parts = [a.reshape(devices, -1, *a.shape[1:]) for a in (x, weights)]
    mapped = jax.pmap(step, axis_name="data", devices=jax.devices()[:devices], out_axes=(0, 0, None, None))
    y, d_x, updated, d_params = mapped(*parts)
    return y.reshape(x.shape), d_x.reshape(x.shape), updated, d_params


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", [(56, 4), (56, 5, 4)])
@pytest.mark.parametrize("devices", [1, 7, 8])
def test_values_gradients_and_running_statistics_are_those_of_flax(devices, shape, relu):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(2, 3, size=shape), jnp.float32)
    weights = jnp.asarray(rng.normal(size=shape), jnp.float32)
    variables = variables_of(rng, shape[-1])
    axis_name = "data" if devices > 1 else None
    found = results(BatchNorm(axis_name, relu), variables, x, weights, devices)
    wanted = results(FlaxBatchNorm(axis_name, relu), variables, x, weights, devices)
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())


@pytest.mark.parametrize("relu", [False, True])
def test_starts_and_evaluates_as_flax_does(relu):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(2, 3, size=(6, 5, 4)), jnp.float32)
    ours, flax = BatchNorm(relu=relu), FlaxBatchNorm(relu=relu)
    for train in (False, True):
        initial = [module.init(jax.random.key(0), x, train) for module in (ours, flax)]
        jax.tree.map(np.testing.assert_array_equal, *initial)
    variables = variables_of(rng, 4)
    np.testing.assert_allclose(ours.apply(variables, x, False), flax.apply(variables, x, False), rtol=1e-6, atol=1e-6)


def test_bfloat16_is_summed_in_float32():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(3, 1, size=(4096, 2)), jnp.bfloat16)
    variables = variables_of(rng, 2)
    variables["params"] = jax.tree.map(lambda p: jnp.asarray(p, jnp.bfloat16), variables["params"])
    y, updated = BatchNorm().apply(variables, x, True, mutable=["batch_stats"])
    assert y.dtype == jnp.bfloat16
    running, before = updated["batch_stats"]["BatchNorm_0"], variables["batch_stats"]["BatchNorm_0"]
    wanted = 0.9 * before["mean"] + 0.1 * np.asarray(x, np.float64).mean(axis=0)
    np.testing.assert_allclose(running["mean"], wanted, rtol=1e-5, atol=1e-6)


def test_gradient_against_numpy():
    """The formula of Ioffe and Szegedy in float64."""
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(2, 30, 3))
    scale, bias = rng.normal(size=(2, 3))
    variables = {"params": {"BatchNorm_0": {"scale": jnp.float32(scale), "bias": jnp.float32(bias)}}}
    variables["batch_stats"] = {"BatchNorm_0": {"mean": jnp.zeros(3), "var": jnp.ones(3)}}

    def apply(params, x):
        return BatchNorm(relu=True).apply({**variables, "params": params}, x, True, mutable=["batch_stats"])[0]

    _, pull_back = jax.vjp(apply, variables["params"], jnp.float32(x))
    d_params, d_x = pull_back(jnp.float32(g))
    deviation = np.sqrt(x.var(axis=0) + 1e-5)
    normalized = (x - x.mean(axis=0)) / deviation
    g = g * (normalized * scale + bias > 0)
    wanted = scale / deviation * (g - g.mean(axis=0) - normalized * (g * normalized).mean(axis=0))
    np.testing.assert_allclose(d_x, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(d_params["BatchNorm_0"]["scale"], (g * normalized).sum(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(d_params["BatchNorm_0"]["bias"], g.sum(axis=0), rtol=1e-4, atol=1e-5)


def test_several_seeds_at_once_are_each_their_own():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(3, 20, 4)), jnp.float32)
    variables = variables_of(rng, 4)

    def loss(x):
        return jnp.sum(BatchNorm(relu=True).apply(variables, x, True, mutable=["batch_stats"])[0] ** 3)

    wanted = jnp.stack([jax.grad(loss)(one) for one in x])
    np.testing.assert_allclose(jax.vmap(jax.grad(loss))(x), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("rows", "parts", "divided"), [(96, 16, True), (96, 64, True), (97, 16, False), (8193, 64, False)]
)
def test_the_form_for_gpus_sums_in_parts_that_divide_the_rows(rows, parts, divided):
    a, b = np.random.default_rng(0).normal(size=(2, rows, 1, 2)).astype(np.float32)
    form = jax.jit(sums_together, static_argnums=2)
    assert ("optimization_barrier" in form.lower(a, b, parts).as_text()) == divided
    for found, x in zip(form(a, b, parts), (a, b), strict=True):
        np.testing.assert_allclose(found, x.sum((0, 1)), rtol=1e-5, atol=1e-6 * rows)
