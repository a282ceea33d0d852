"""DanHAR's two attentions against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcdp_jax.models.baselines.danhar import ChannelAttention, DanHAR, TemporalAttention
from tests.models.baselines.making import random_variables

pytestmark = pytest.mark.usefixtures("strict_types")


@pytest.fixture
def h():
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, 9, 16)), jnp.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_channel_attention_against_numpy(h):
    layer = ChannelAttention()
    variables = random_variables(layer, h)
    first, second = (np.asarray(p["kernel"], np.float64) for p in variables["params"].values())
    assert first.shape == (16, 2)
    double = np.asarray(h, np.float64)
    scores = [np.maximum(pooled @ first, 0) @ second for pooled in (double.mean(axis=1), double.max(axis=1))]
    wanted = double * sigmoid(scores[0] + scores[1])[:, None, :]
    np.testing.assert_allclose(layer.apply(variables, h), wanted, atol=1e-5)


def test_temporal_attention_against_numpy(h):
    layer = TemporalAttention()
    variables = random_variables(layer, h)
    (kernel,) = (np.asarray(p["kernel"], np.float64) for p in variables["params"].values())
    assert kernel.shape == (7, 2, 1)
    double = np.asarray(h, np.float64)
    pooled = np.stack([double.mean(axis=2), double.max(axis=2)], axis=2)
    padded = np.pad(pooled, ((0, 0), (3, 3), (0, 0)))
    scores = np.stack([np.einsum("bkc,kc->b", padded[:, t : t + 7], kernel[:, :, 0]) for t in range(9)], axis=1)
    np.testing.assert_allclose(layer.apply(variables, h), double * sigmoid(scores)[:, :, None], atol=1e-5)


def test_gradients_are_finite_where_the_compiler_rounds_otherwise():
    """Without optimisation the gradient of `jnp.max` is not."""
    network = DanHAR(5, 2)
    x = jax.random.normal(jax.random.key(0), (32, 20, 18))
    variables = random_variables(network, x, False, None)

    def loss(params):
        return jnp.sum(network.apply({**variables, "params": params}, x, False, None) ** 2)

    lowered = jax.jit(jax.grad(loss)).lower(variables["params"])
    options = {"xla_backend_optimization_level": "0", "xla_llvm_disable_expensive_passes": "True"}
    found = lowered.compile(options)(variables["params"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
