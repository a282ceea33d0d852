"""InceptionTime, TinyHAR and the Transformer encoder against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcdp_jax.models.baselines.inception_time import InceptionModule
from dcdp_jax.models.baselines.tinyhar import ChannelInteraction, TemporalAggregation
from dcdp_jax.models.baselines.transformer import HEADS, EncoderLayer, sinusoidal_positions
from tests.models.baselines.making import random_variables

pytestmark = pytest.mark.usefixtures("strict_types")


def in_double(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def softmax(scores, axis):
    powers = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def convolved(h, kernel):
    """Zero padding such that the length stays, one sample more on the right where the kernel is even."""
    taps = len(kernel)
    padded = np.pad(h, ((0, 0), ((taps - 1) // 2, taps // 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, taps, axis=1)
    return np.einsum("btck,kco->bto", windows, kernel)


def test_inception_module_against_numpy():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 45, 5)), jnp.float32)
    layer = InceptionModule(4)
    variables = random_variables(layer, x, True)
    p, h = in_double(variables["params"]), in_double(x)
    narrow = convolved(h, p["bottleneck"]["kernel"])
    padded = np.pad(h, ((0, 0), (1, 1), (0, 0)), constant_values=-np.inf)
    pooled = np.max([padded[:, i : i + 45] for i in range(3)], axis=0)
    parts = [convolved(narrow, p[f"k{taps}"]["kernel"]) for taps in (40, 20, 10)]
    joined = np.concatenate([*parts, convolved(pooled, p["pooled"]["kernel"])], axis=-1)
    mean, variance = joined.mean(axis=(0, 1)), joined.var(axis=(0, 1))
    norm = p["BatchNorm_0"]["BatchNorm_0"]
    wanted = np.maximum((joined - mean) / np.sqrt(variance + 1e-5) * norm["scale"] + norm["bias"], 0)
    found, _ = layer.apply(variables, x, True, mutable=["batch_stats"])
    np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_channel_interaction_against_numpy():
    h = jnp.asarray(np.random.default_rng(1).normal(size=(2, 3, 5, 4)), jnp.float32)
    layer = ChannelInteraction()
    variables = random_variables(layer, h)
    p, double = in_double(variables["params"]), in_double(h)
    query, key, value = (double @ p[name]["kernel"] for name in ("query", "key", "value"))
    weights = softmax(np.einsum("btif,btjf->btij", query, key), axis=2)
    wanted = double + p["factor"] * np.einsum("btij,btif->btjf", weights, value)
    np.testing.assert_allclose(layer.apply(variables, h), wanted, atol=1e-5)


def test_temporal_aggregation_against_numpy():
    h = jnp.asarray(np.random.default_rng(2).normal(size=(2, 7, 4)), jnp.float32)
    layer = TemporalAggregation()
    variables = random_variables(layer, h)
    p, double = in_double(variables["params"]), in_double(h)
    hidden = np.tanh(double @ p["hidden"]["kernel"] + p["hidden"]["bias"])
    weights = softmax(hidden @ p["score"]["kernel"], axis=1)
    wanted = double[:, -1] + p["factor"] * (weights * double).sum(axis=1)
    np.testing.assert_allclose(layer.apply(variables, h), wanted, atol=1e-5)


def test_encoder_layer_against_numpy():
    d, t = 2 * HEADS, 6
    h = jnp.asarray(np.random.default_rng(3).normal(size=(2, t, d)), jnp.float32)
    layer = EncoderLayer(0.5)
    variables = random_variables(layer, h, None)
    p, double = in_double(variables["params"]), in_double(h)

    def dense(name, x):
        return x @ p[name]["kernel"] + p[name]["bias"]

    def normalised(name, x):
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-6)
        return scaled * p[name]["scale"] + p[name]["bias"]

    x = normalised("attention_norm", double)
    query, key, value = (dense(name, x).reshape(2, t, HEADS, 2) for name in ("query", "key", "value"))
    weights = softmax(np.einsum("bihd,bjhd->bhij", query, key) / np.sqrt(2), axis=-1)
    first = double + dense("out", np.einsum("bhij,bjhd->bihd", weights, value).reshape(2, t, d))
    second = dense("network_out", np.maximum(dense("hidden", normalised("network_norm", first)), 0))
    np.testing.assert_allclose(layer.apply(variables, h, None), first + second, atol=2e-5)


def test_positions_differ_and_follow_the_source():
    found = sinusoidal_positions(50, 6)
    np.testing.assert_allclose(found[7, 2], np.sin(7 / 10000 ** (2 / 6)), rtol=1e-6)
    np.testing.assert_allclose(found[7, 3], np.cos(7 / 10000 ** (2 / 6)), rtol=1e-6)
    assert len(np.unique(found, axis=0)) == 50
