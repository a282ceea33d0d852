"""Dropout: the same features are dropped in every precision, at a rate that is a constant or an argument."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcdp_jax.models.dropout import dropout

RATE = 0.3


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_traced_rate_and_another_precision_drop_the_same(dtype):
    h, keys = jnp.ones((8, 100)), jax.random.split(jax.random.key(0), 8)
    wanted = dropout(h, keys, RATE)
    assert 0.2 < (wanted == 0).mean() < 0.4
    for found in (dropout(h.astype(dtype), keys, RATE), jax.jit(dropout)(h.astype(dtype), keys, RATE)):
        assert found.dtype == dtype
        np.testing.assert_array_equal(found == 0, wanted == 0)
        np.testing.assert_allclose(found[found > 0].astype(np.float32), 1 / (1 - RATE), rtol=4e-3)
    assert dropout(h, keys, 0.0) is h
