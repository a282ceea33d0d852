"""LSTM and GRU against NumPy in float64, and against PyTorch where it is installed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcdp_jax.models.baselines.recurrent import GRU, LSTM
from tests.models.baselines.making import random_variables

BATCH, TIME, CHANNELS, UNITS = 3, 11, 4, 5
pytestmark = pytest.mark.usefixtures("strict_types")


@pytest.fixture
def x():
    return jnp.asarray(np.random.default_rng(0).normal(size=(BATCH, TIME, CHANNELS)), jnp.float32)


def in_double(variables):
    return {name: np.asarray(p, np.float64) for name, p in variables["params"].items()}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_lstm_against_numpy(x):
    layer = LSTM(UNITS)
    variables = random_variables(layer, x)
    p = in_double(variables)
    h, cell, wanted = np.zeros((BATCH, UNITS)), np.zeros((BATCH, UNITS)), []
    for t in range(TIME):
        gates = np.asarray(x[:, t], np.float64) @ p["input_kernel"] + h @ p["recurrent_kernel"] + p["bias"]
        i, f, g, o = (gates[:, n * UNITS : (n + 1) * UNITS] for n in range(4))
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(cell)
        wanted.append(h)
    np.testing.assert_allclose(layer.apply(variables, x), np.stack(wanted, axis=1), atol=1e-5)


def test_gru_against_numpy(x):
    layer = GRU(UNITS)
    variables = random_variables(layer, x)
    p = in_double(variables)
    w_r, w_z, w_n = np.split(p["input_kernel"], 3, axis=1)
    u_r, u_z, u_n = np.split(p["recurrent_kernel"], 3, axis=1)
    b_r, b_z, b_n = np.split(p["bias"], 3)
    h, wanted = np.zeros((BATCH, UNITS)), []
    for t in range(TIME):
        now = np.asarray(x[:, t], np.float64)
        reset = sigmoid(now @ w_r + h @ u_r + b_r)
        update = sigmoid(now @ w_z + h @ u_z + b_z)
        new = np.tanh(now @ w_n + b_n + reset * (h @ u_n + p["new_bias"]))
        h = (1 - update) * new + update * h
        wanted.append(h)
    np.testing.assert_allclose(layer.apply(variables, x), np.stack(wanted, axis=1), atol=1e-5)


@pytest.mark.extra
@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_against_pytorch(name, x):
    torch = pytest.importorskip("torch")
    layer = {"LSTM": LSTM, "GRU": GRU}[name](UNITS)
    variables = random_variables(layer, x)
    p = {key: torch.tensor(np.asarray(value)) for key, value in variables["params"].items()}
    twin = getattr(torch.nn, name)(CHANNELS, UNITS, batch_first=True)
    second_bias = torch.zeros_like(p["bias"])
    if name == "GRU":
        second_bias[2 * UNITS :] = p["new_bias"]
    with torch.no_grad():
        twin.weight_ih_l0.copy_(p["input_kernel"].T)
        twin.weight_hh_l0.copy_(p["recurrent_kernel"].T)
        twin.bias_ih_l0.copy_(p["bias"])
        twin.bias_hh_l0.copy_(second_bias)
        wanted, _ = twin(torch.tensor(np.asarray(x)))
    np.testing.assert_allclose(layer.apply(variables, x), wanted.numpy(), atol=1e-5)


def test_initial_parameters(x):
    params = LSTM(UNITS).init(jax.random.key(0), x)["params"]
    np.testing.assert_array_equal(params["bias"].reshape(4, UNITS).sum(axis=1), [0, UNITS, 0, 0])
    for gate in jnp.split(params["recurrent_kernel"], 4, axis=1):
        np.testing.assert_allclose(gate.T @ gate, np.eye(UNITS), atol=1e-5)
