"""The norms of gradients and updates per branch."""

import jax.numpy as jnp
import numpy as np
import pytest

from dcdp_jax.optim import norms_of


@pytest.mark.parametrize(
    ("entry", "norm"),
    [
        ({}, 0.0),
        (jnp.array([3j, 4]), 5.0),
        (jnp.full(4, 300, jnp.float16), 600.0),  # whose squares float16 cannot hold
        ([jnp.full((2, 2), 3, jnp.bfloat16), jnp.full(4, 4.0)], 10.0),
    ],
)
def test_norms_of_any_arrays(entry, norm):
    found = norms_of({"res": entry, "dense": jnp.ones(4)})
    np.testing.assert_allclose(found["res"], norm, rtol=1e-6)
    assert found["res"].dtype == jnp.float32
