"""OGM and OGM-GE against their published definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcdp_jax.optim import ogm_coefficients, scale_by_ogm

LABELS = {"res": "res", "dense": "dense", "fusion": None}


def test_coefficients_against_numpy():
    rng = np.random.default_rng(0)
    for _ in range(50):
        res, dense = rng.uniform(1, 100, 2)
        alpha = rng.uniform(0.05, 1)
        found = ogm_coefficients({"res": jnp.float32(res), "dense": jnp.float32(dense)}, alpha)
        for name, R in (("res", res / dense), ("dense", dense / res)):
            np.testing.assert_allclose(found[name], 1 - np.tanh(alpha * R) if R > 1 else 1, rtol=1e-4, atol=1e-12)


def test_it_jumps_at_one():
    just_above = ogm_coefficients({"res": jnp.float32(1.0001), "dense": jnp.float32(1.0)}, 0.5)["res"]
    at_one = ogm_coefficients({"res": jnp.float32(1.0), "dense": jnp.float32(1.0)}, 0.5, eps=0.0)["res"]
    assert at_one == 1
    assert just_above == pytest.approx(1 - np.tanh(0.5), abs=1e-3)


def test_noise_has_the_standard_deviation_of_the_gradient_and_is_keyed():
    rng = np.random.default_rng(0)
    gradients = {name: jnp.asarray(rng.normal(1, 3, 20000), jnp.float32) for name in LABELS}
    S = {"res": jnp.float32(60), "dense": jnp.float32(40)}
    tx = scale_by_ogm(LABELS, 0.1, generalization_enhancement=True, key=1)
    plain, _ = scale_by_ogm(LABELS, 0.1).update(gradients, scale_by_ogm(LABELS, 0.1).init(gradients), confidence=S)
    updates, state = tx.update(gradients, tx.init(gradients), confidence=S)
    again, _ = jax.jit(tx.update)(gradients, tx.init(gradients), confidence=S)
    following, _ = tx.update(gradients, state, confidence=S)
    for name in ("res", "dense"):
        noise = updates[name] - plain[name]
        assert float(noise.std()) == pytest.approx(float(gradients[name].std()), rel=0.03)
        assert abs(float(noise.mean())) < 0.1
        np.testing.assert_allclose(updates[name], again[name], rtol=1e-5, atol=1e-5)
        assert float(jnp.abs(following[name] - updates[name]).max()) > 1
    np.testing.assert_array_equal(updates["fusion"], gradients["fusion"])
    assert float(jnp.abs((updates["res"] - plain["res"]) - (updates["dense"] - plain["dense"])).max()) > 1


@pytest.mark.parametrize("key", [jax.random.key(1), jax.random.key_data(jax.random.key(1))], ids=["key", "data"])
def test_a_key_may_be_a_seed_or_a_key_of_either_kind(key):
    params, S = {name: jnp.ones(4) for name in LABELS}, {"res": 60.0, "dense": 40.0}
    ge = {"generalization_enhancement": True}
    gradients = {name: jnp.arange(4.0) for name in LABELS}
    found, expected = (
        tx.update(gradients, tx.init(params), confidence=S)[0]
        for tx in (scale_by_ogm(LABELS, key=key, **ge), scale_by_ogm(LABELS, key=1, **ge))
    )
    jax.tree.map(np.testing.assert_array_equal, found, expected)
