"""Depthwise convolution against NumPy in float64; the merged network against the one that was trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcdp_jax.models.baselines.elk import ELK, LargeKernel, depthwise_convolution, merge
from tests.models.baselines.making import random_variables

pytestmark = pytest.mark.usefixtures("strict_types")


@pytest.mark.parametrize(("t", "taps"), [(1, 1), (9, 5), (9, 9), (40, 31)])
def test_depthwise_convolution_against_numpy(t, taps):
    rng = np.random.default_rng(t)
    h, kernel = rng.normal(size=(2, t, 3)), rng.normal(size=(taps, 3))
    padded = np.pad(h, ((0, 0), (taps // 2, taps // 2), (0, 0)))
    wanted = np.stack([np.einsum("bkc,kc->bc", padded[:, i : i + taps], kernel) for i in range(t)], axis=1)
    found = jax.jit(depthwise_convolution)(jnp.asarray(h, jnp.float32), jnp.asarray(kernel, jnp.float32))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize(("t", "taps"), [(1, 1), (4, 3), (5, 5), (30, 29), (31, 31), (100, 31)])
def test_a_kernel_is_clamped_to_the_window(t, taps):
    params = random_variables(LargeKernel(), jnp.zeros((1, t, 2)), False)["params"]
    assert params["large"]["kernel"].shape == (taps, 2)
    assert params["small"]["kernel"].shape == (min(5, taps), 2)


@pytest.mark.parametrize("t", [24, 64])
def test_the_merged_network_gives_the_same_logits(t):
    model = ELK(classes=3, width=8)
    x = jax.random.normal(jax.random.key(0), (4, t, 5))
    variables = random_variables(model, x, False, None)
    wanted = jax.jit(lambda v: model.apply(v, x, False, None))(variables)
    params, batch_stats = merge(variables["params"], variables["batch_stats"])
    merged = model.clone(merged=True)
    expected = jax.eval_shape(lambda: merged.init(jax.random.key(0), x, False, None))
    assert jax.tree.map(jnp.shape, {"params": params, "batch_stats": batch_stats}) == jax.tree.map(jnp.shape, expected)
    found = jax.jit(lambda v: merged.apply(v, x, False, None))({"params": params, "batch_stats": batch_stats})
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * float(jnp.abs(wanted).max()))
