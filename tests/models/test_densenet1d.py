"""The transition's pooling against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcdp_jax.models.batch_norm import BatchNorm
from dcdp_jax.models.conv import Conv1D
from dcdp_jax.models.densenet1d import Transition


@pytest.mark.parametrize("t", [2, 5, 8])
def test_a_transition_averages_pairs_and_drops_a_last_odd_sample(t):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, t, 4)), jnp.float32)
    variables = Transition().init(jax.random.key(0), x, False)
    names = sorted(variables["params"])
    assert [name.rstrip("_0") for name in names] == [BatchNorm.__name__, Conv1D.__name__]
    kernel = np.asarray(variables["params"]["Conv1D_0"]["kernel"])[0]
    h = np.maximum(np.asarray(x) / np.sqrt(1 + 1e-5), 0) @ kernel
    expected = h[:, : t // 2 * 2].reshape(3, t // 2, 2, 2).mean(axis=2)
    np.testing.assert_allclose(Transition().apply(variables, x, False), expected, atol=1e-6)
