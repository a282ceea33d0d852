"""Sizes by hand, and what each baseline does with windows and keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dcdp_jax.errors import ConfigError
from dcdp_jax.models.baselines import BASELINES
from dcdp_jax.models.baselines.baseline import SinglePath
from dcdp_jax.models.baselines.recurrent import LSTM
from tests.models.baselines.making import random_variables

pytestmark = pytest.mark.usefixtures("strict_types")
T, C, K = 24, 5, 3


def convolution(taps, c_in, c_out, bias=False):
    return taps * c_in * c_out + bias * c_out


def norm(channels):
    return 2 * channels


def dense(c_in, c_out, bias=True):
    return c_in * c_out + bias * c_out


def lstm(c, h):
    return 4 * h * (c + h + 1)


def gru(c, h):
    return 3 * h * (c + h + 1) + h


def danhar_block(c_in, c):
    return (
        *(convolution(3, c_in, c), norm(c), convolution(3, c, c), norm(c), convolution(1, c_in, c), norm(c)),
        *(dense(c, c // 8, bias=False), dense(c // 8, c, bias=False), convolution(7, 2, 1)),
    )


def elk_block(c, taps):
    return (
        *(taps * c, norm(c), min(taps, 5) * c, norm(c)),
        *(convolution(1, c, 2 * c), norm(2 * c), convolution(1, 2 * c, c), norm(c)),
    )


def inception_module(c_in):
    return (
        *(convolution(1, c_in, 32), *(convolution(taps, 32, 32) for taps in (40, 20, 10)), convolution(1, c_in, 32)),
        norm(128),
    )


def encoder_layer(d):
    return (*2 * (norm(d),), *4 * (dense(d, d),), dense(d, 4 * d), dense(4 * d, d))


# Of width 64, the published sizes.
BY_HAND = {
    "cnn": (
        *(convolution(3, C, 64), norm(64), convolution(3, 64, 128), norm(128)),
        *(convolution(3, 128, 256), norm(256), convolution(3, 256, 512), norm(512), dense(512, K)),
    ),
    "lstm": (lstm(C, 128), lstm(128, 128), dense(128, K)),
    "lstm_cnn": (
        *(lstm(C, 32), lstm(32, 32), convolution(5, 32, 64, bias=True), convolution(3, 64, 128, bias=True)),
        *(norm(128), dense(128, K)),
    ),
    "cnn_gru": (
        *(convolution(taps, C, 64, bias=True) + convolution(taps, 64, 32, bias=True) for taps in (3, 7, 11)),
        *(gru(3 * 32, 128), gru(128, 64), dense(64, 64, bias=False), norm(64), dense(64, K)),
    ),
    # t = 24 is 12, 6 and 3 samples in the three stages: the kernels have 11, 5 and 3 taps.
    "elk": (
        *(convolution(3, C, 64), norm(64), *2 * elk_block(64, 11)),
        *(convolution(3, 64, 128), norm(128), *2 * elk_block(128, 5)),
        *(convolution(3, 128, 256), norm(256), *2 * elk_block(256, 3), dense(256, K)),
    ),
    "danhar": (*danhar_block(C, 64), *danhar_block(64, 128), *danhar_block(128, 256), dense(256, K)),
    "deepconvlstm": (
        *(convolution(5, 1, 64, bias=True), *3 * (convolution(5, 64, 64, bias=True),)),
        *(lstm(64 * C, 128), lstm(128, 128), dense(128, K)),
    ),
    "inception_time": (
        *(*inception_module(C), *5 * inception_module(128)),
        *(convolution(1, C, 128), norm(128), convolution(1, 128, 128), norm(128), dense(128, K)),
    ),
    "tinyhar": (
        *(convolution(5, 1, 20, bias=True), *3 * (convolution(5, 20, 20, bias=True),), *4 * (norm(20),)),
        *(*3 * (dense(20, 20, bias=False),), 1, dense(20 * C, 40), lstm(40, 40)),
        *(dense(40, 40), dense(40, 1, bias=False), 1, dense(40, K)),
    ),
    "transformer": (dense(C, 128), *2 * encoder_layer(128), norm(128), dense(128, K)),
}


@pytest.mark.parametrize("name", BASELINES)
def test_parameters_are_those_counted_by_hand(name):
    model = SinglePath(BASELINES[name](K))
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((2, T, C))))["params"]
    assert set(params) == {"network"}
    assert sum(p.size for p in jax.tree.leaves(params)) == sum(BY_HAND[name])


@pytest.mark.parametrize("t", [24, 30, 200])
@pytest.mark.parametrize("name", BASELINES)
def test_one_prediction_and_nothing_else(name, t):
    model = SinglePath(BASELINES[name](K, 2))
    outputs, _ = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), jnp.zeros((2, t, 2))))
    assert outputs.fusion.shape == (2, K)
    assert outputs[1:] == ({}, {}, [])


@pytest.mark.parametrize("name", ["cnn_gru", "deepconvlstm", "tinyhar", "transformer"])
def test_dropout_of_a_window_is_that_of_its_key(name):
    network = BASELINES[name](K, 8)
    x = jnp.tile(jax.random.normal(jax.random.key(0), (1, T, 2)), (3, 1, 1))
    variables = random_variables(network, x, False, None)
    keys = jax.random.split(jax.random.key(2), 2)
    apply = jax.jit(lambda keys: network.apply(variables, x, False, keys))
    first, second, third = apply(keys[jnp.array([0, 1, 0])])
    np.testing.assert_allclose(first, third, atol=1e-6)
    assert np.abs(first - second).max() > 1e-3
    np.testing.assert_allclose(*apply(None)[:2], atol=1e-6)


def test_deepconvlstm_convolves_every_channel_by_itself_without_padding():
    network = BASELINES["deepconvlstm"](K, 4)
    x = jax.random.normal(jax.random.key(0), (2, 20, 3))
    variables = random_variables(network, x, False, None)
    _, seen = network.apply(variables, x, False, None, capture_intermediates=True, mutable="intermediates")
    (found,) = seen["intermediates"]["LSTM_0"]["__call__"]
    channels = []
    for c in range(3):
        h = x[:, :, c : c + 1]
        for layer in range(4):
            p = variables["params"][f"Conv1D_{layer}"]
            h = lax.conv_general_dilated(h, p["kernel"], (1,), "VALID", dimension_numbers=("NWC", "WIO", "NWC"))
            h = jax.nn.relu(h + p["bias"])
        channels.append(h)
    lstm_params = {"params": variables["params"]["LSTM_0"]}
    wanted = LSTM(8).apply(lstm_params, jnp.concatenate(channels, axis=-1))
    assert found.shape == (2, 4, 8)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_deepconvlstm_refuses_a_window_that_is_too_short():
    network = BASELINES["deepconvlstm"](K, 4)
    with pytest.raises(ConfigError, match=r"data\.window=16 is shorter .* need 17"):
        jax.eval_shape(lambda: network.init(jax.random.key(1), jnp.zeros((1, 16, 3)), False, None))
